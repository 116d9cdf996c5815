#include "tap/dm/metadata.h"

#include <endian.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/aligned_buffer.h"

namespace blockferry {

namespace {

constexpr uint64_t kMagic = 2126579579;
constexpr uint32_t kVersion = 1;
constexpr int kDeepest = 16;  // a tree of that height would hold more than there is

// The superblock, little-endian: checksum, flags, its own place, 16 bytes of uuid, then these.
enum SuperblockField {
  kMagicAt = 32,
  kVersionAt = 40,
  kEraAt = 184,  // after 128 bytes of the space map's root and three numbers
  kWritesetsAt = 200,
  kArrayAt = 208,
  kSnapshotAt = 216,
};

// A node of a tree: its header, then `max_entries` keys, then the values.
struct NodeHeader {
  uint32_t checksum, flags;
  uint64_t place;
  uint32_t entries, max_entries, value_size, padding;
};
constexpr uint32_t kInternal = 1, kLeaf = 2;

struct ArrayHeader {
  uint32_t checksum, max_entries, entries, value_size;
  uint64_t place;
};

// How an era's set is named in the tree: the number of its bits, and its root.
constexpr uint32_t kSetSize = 12;
constexpr uint32_t kSetRootAt = 4;

uint32_t read32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return le32toh(value);
}

uint64_t read64(const uint8_t* at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return le64toh(value);
}

Status nonsense(uint64_t block) {
  return Status::failure(Code::io_error,
                         "the metadata of dm-era makes no sense at block " + std::to_string(block));
}

// Runs of numbers that come in order.
class Runs {
 public:
  explicit Runs(const EraMetadata::Visit& visit) : visit_(visit) {}
  ~Runs() { end(); }
  void add(uint64_t first, uint64_t count) {
    if (run_.count != 0 && run_.end() == first) {
      run_.count += count;
      return;
    }
    end();
    run_ = {first, count};
  }

 private:
  void end() {
    if (run_.count != 0) visit_(run_);
  }
  const EraMetadata::Visit& visit_;
  BlockRange run_;
};

}  // namespace

bool is_era_superblock(const void* block) {
  return read64(static_cast<const uint8_t*>(block) + kMagicAt) == kMagic;
}

Status EraMetadata::read_block(uint64_t block, void* buffer) const {
  auto offset = static_cast<off_t>(block * kEraMetadataBlock);
  ssize_t got = pread(descriptor_, buffer, kEraMetadataBlock, offset);
  if (got == kEraMetadataBlock) return {};
  return got < 0 ? Status::from_errno(errno, "read the metadata of dm-era") : nonsense(block);
}

Status EraMetadata::read_state(uint64_t block, EraState* state) const {
  auto buffer = make_aligned_buffer(kEraMetadataBlock);
  Status status = read_block(block, buffer.get());
  if (!status.ok()) return status;
  auto* bytes = reinterpret_cast<const uint8_t*>(buffer.get());
  if (!is_era_superblock(bytes)) return nonsense(block);
  if (read32(bytes + kVersionAt) != kVersion) {
    return Status::failure(Code::unsupported, "the metadata of dm-era has an unknown version");
  }
  *state = {read32(bytes + kEraAt), read64(bytes + kSnapshotAt), read64(bytes + kWritesetsAt),
            read64(bytes + kArrayAt)};
  return {};
}

Status EraMetadata::current(EraState* state) const { return read_state(0, state); }

Status EraMetadata::snapshot(EraState* state) const {
  Status status = current(state);
  if (!status.ok()) return status;
  uint64_t place = state->snapshot;
  return place == 0 ? nonsense(0) : read_state(place, state);
}

Status EraMetadata::walk_tree(uint64_t root, uint32_t value_size, int depth,
                              const Entry& entry) const {
  if (depth == kDeepest) return nonsense(root);
  auto buffer = make_aligned_buffer(kEraMetadataBlock);
  Status status = read_block(root, buffer.get());
  if (!status.ok()) return status;
  auto* bytes = reinterpret_cast<const uint8_t*>(buffer.get());
  NodeHeader header;
  memcpy(&header, bytes, sizeof header);
  uint32_t flags = le32toh(header.flags);
  uint64_t entries = le32toh(header.entries), most = le32toh(header.max_entries);
  uint32_t size = le32toh(header.value_size);
  bool fits = sizeof header + most * (sizeof(uint64_t) + size) <= kEraMetadataBlock;
  bool sound =
      le64toh(header.place) == root && entries <= most && fits &&
      (flags == kInternal ? size == sizeof(uint64_t) : flags == kLeaf && size == value_size);
  if (!sound) return nonsense(root);
  const uint8_t* keys = bytes + sizeof header;
  const uint8_t* values = keys + most * sizeof(uint64_t);
  for (uint64_t i = 0; i < entries && status.ok(); i++) {
    const uint8_t* value = values + i * size;
    status = flags == kLeaf ? entry(read64(keys + i * sizeof(uint64_t)), value)
                            : walk_tree(read64(value), value_size, depth + 1, entry);
  }
  return status;
}

Status EraMetadata::walk_array(uint64_t root, uint32_t value_size, const Value& value) const {
  auto buffer = make_aligned_buffer(kEraMetadataBlock);
  auto* bytes = reinterpret_cast<const uint8_t*>(buffer.get());
  return walk_tree(root, sizeof(uint64_t), 0, [&](uint64_t index, const uint8_t* pointer) {
    uint64_t place = read64(pointer);
    Status status = read_block(place, buffer.get());
    if (!status.ok()) return status;
    ArrayHeader header;
    memcpy(&header, bytes, sizeof header);
    uint64_t entries = le32toh(header.entries), most = le32toh(header.max_entries);
    bool sound = le64toh(header.place) == place && le32toh(header.value_size) == value_size &&
                 entries <= most && sizeof header + most * value_size <= kEraMetadataBlock;
    if (!sound) return nonsense(place);
    for (uint64_t i = 0; i < entries; i++) {
      value(index * most + i, bytes + sizeof header + i * value_size);
    }
    return status;
  });
}

Status EraMetadata::read_set(uint64_t root, const Visit& visit) const {
  Runs runs(visit);
  return walk_array(root, sizeof(uint64_t), [&](uint64_t word, const uint8_t* value) {
    uint64_t bits = read64(value);
    while (bits != 0) {
      int first = std::countr_zero(bits);
      int count = std::countr_one(bits >> first);
      runs.add(word * 64 + static_cast<uint64_t>(first), static_cast<uint64_t>(count));
      if (first + count == 64) break;
      bits &= ~0ull << (first + count);
    }
  });
}

// An era's set is there until the kernel has brought it into the array, so both are looked at.
Status EraMetadata::written_since(const EraState& state, uint64_t era, const Visit& visit) const {
  Status status = walk_tree(state.writesets, kSetSize, 0, [&](uint64_t key, const uint8_t* value) {
    return key < era ? Status{} : read_set(read64(value + kSetRootAt), visit);
  });
  if (!status.ok()) return status;
  Runs runs(visit);
  return walk_array(state.last_written, sizeof(uint32_t),
                    [&](uint64_t block, const uint8_t* value) {
                      if (read32(value) >= era) runs.add(block, 1);
                    });
}

}  // namespace blockferry
