#include "wire/digest.h"

#include <algorithm>
#include <future>

#include "base/aligned_buffer.h"
#include "disk/block_hash.h"
#include "wire/wire.h"

namespace blockferry {

namespace {

constexpr uint64_t kVerifyChunk = 256 << 10;  // what stays in a core's cache while it is hashed
// From so many bytes on, several threads verify.
constexpr uint64_t kMuchToVerify = 64 << 20;
constexpr size_t kVerifyThreads = 2;

uint64_t load(const LazyWords& words, uint64_t index) {
  return words[index].load(std::memory_order_relaxed);
}

}  // namespace

SourceDigest::SourceDigest(LazyWords& hashes, bool count_in) : hashes_(hashes) {
  uint64_t sum = 0;
  for (uint64_t block = 0; count_in && block < hashes_.size(); block++) {
    sum += digest_term(block, load(hashes_, block));
  }
  sum_ = sum;
}

void SourceDigest::sent(BlockRange range, const uint64_t* hashes) {
  uint64_t change = 0;
  for (uint64_t i = 0; i < range.count; i++) {
    uint64_t block = range.first + i;
    uint64_t before = load(hashes_, block);
    uint64_t hash = hashes ? hashes[i] : kZeroBlock;
    if (before == hash) continue;
    change += digest_term(block, hash) - digest_term(block, before);
    hashes_[block].store(hash, std::memory_order_relaxed);
  }
  sum_.fetch_add(change);
}

bool SourceDigest::all_zero(BlockRange range) const {
  for (uint64_t block = range.first; block < range.end(); block++) {
    if (load(hashes_, block) != kZeroBlock) return false;
  }
  return true;
}

DestinationDigest::DestinationDigest(uint64_t size, uint32_t block_size, bool blank)
    : blank_(blank),
      expected_((size + block_size - 1) / block_size),
      missing_(size, block_size),
      pending_{DirtyMap(size, block_size), DirtyMap(size, block_size)} {
  (blank ? pending_[0] : missing_).mark_all();
}

std::mutex& DestinationDigest::lock_of(uint64_t block) {
  return locks_[block / (kStripe / missing_.block_size()) % locks_.size()];
}

bool DestinationDigest::verified(uint64_t block) const {
  return !pending_[0].test(block) && !pending_[1].test(block) && !missing_.test(block);
}

void DestinationDigest::expect(BlockRange range, const uint64_t* hashes, unsigned generation) {
  std::lock_guard lock(lock_of(range.first));
  uint64_t gone = 0;
  for (uint64_t i = 0; i < range.count; i++) {
    uint64_t block = range.first + i;
    uint64_t before = load(expected_, block);
    if (verified(block)) gone += digest_term(block, before);
    uint64_t hash = hashes ? hashes[i] : kZeroBlock;
    if (hash != before) expected_[block].store(hash, std::memory_order_relaxed);
  }
  sum_.fetch_sub(gone);
  missing_.clear_blocks(range);
  pending_[generation ^ 1].clear_blocks(range);
  pending_[generation].mark_blocks(range);
}

void DestinationDigest::found(BlockRange range, const uint64_t* hashes) {
  std::lock_guard lock(lock_of(range.first));
  for (uint64_t i = 0; i < range.count; i++) {
    uint64_t block = range.first + i;
    if (missing_.test(block) && load(expected_, block) != hashes[i]) {
      expected_[block].store(hashes[i], std::memory_order_relaxed);
    }
  }
}

bool DestinationDigest::confirm(BlockRange range, uint64_t check, uint64_t offset) {
  std::lock_guard lock(lock_of(range.first));
  std::vector<uint64_t> hashes(range.count);
  uint64_t gained = 0;
  for (uint64_t i = 0; i < range.count; i++) {
    uint64_t block = range.first + i;
    if (!missing_.test(block)) return false;
    hashes[i] = load(expected_, block);
    gained += digest_term(block, hashes[i]);
  }
  if (check_of(hashes.data(), range.count, offset) != check) return false;
  missing_.clear_blocks(range);
  sum_.fetch_add(gained);
  return true;
}

bool DestinationDigest::expects_zeroes(BlockRange range) const {
  for (uint64_t block = range.first; block < range.end(); block++) {
    if (load(expected_, block) != kZeroBlock) return false;
  }
  return true;
}

bool DestinationDigest::still_blank(BlockRange range) const {
  return blank_ && expects_zeroes(range);
}

// Compares what was found with what is expected now, block by block.
void DestinationDigest::settle(BlockRange run, const uint64_t* found, unsigned generation,
                               std::vector<BlockRange>* wrong) {
  std::lock_guard lock(lock_of(run.first));
  uint64_t gained = 0;
  for (uint64_t i = 0; i < run.count; i++) {
    uint64_t block = run.first + i;
    if (!pending_[generation].test(block)) continue;  // a newer frame came
    pending_[generation].clear_blocks({block, 1});
    if (found[i] == load(expected_, block)) {
      gained += digest_term(block, found[i]);
      continue;
    }
    missing_.mark_blocks({block, 1});
    blank_ = false;
    if (!wrong->empty() && wrong->back().end() == block) {
      wrong->back().count++;
    } else {
      wrong->push_back({block, 1});
    }
  }
  sum_.fetch_add(gained);
}

Status DestinationDigest::verify_run(Origin& origin, BlockRange run, unsigned generation,
                                     uint8_t* buffer, std::vector<uint64_t>& hashes,
                                     std::vector<BlockRange>* wrong) {
  uint64_t block_size = missing_.block_size();
  uint64_t offset = run.first * block_size;
  uint64_t length = std::min(run.count * block_size, missing_.size() - offset);
  // Asking costs a lock that the writers of the file need: only where zeroes are expected.
  uint64_t hole = 0;
  if (expects_zeroes(run)) {
    Status status = origin.hole_at(offset, length, &hole);
    if (!status.ok()) return status;
  }
  if (hole == length) {
    std::fill_n(hashes.begin(), run.count, kZeroBlock);
  } else {
    Status status = origin.reread(buffer, offset, length);
    if (!status.ok()) return status;
    hash_blocks(buffer, length, static_cast<uint32_t>(block_size), hashes.data());
  }
  settle(run, hashes.data(), generation, wrong);
  return {};
}

// The runs whose stripe is `part` modulo `parts`.
Status DestinationDigest::verify_part(Origin& origin, unsigned generation, Part* part,
                                      uint64_t parts, const std::atomic<bool>& stop) {
  uint64_t block_size = missing_.block_size();
  uint64_t limit = std::max<uint64_t>(kVerifyChunk / block_size, 1);
  uint64_t stripe_blocks = kStripe / block_size;
  auto buffer = make_aligned_buffer(limit * block_size);
  std::vector<uint64_t> hashes(limit);
  uint64_t from = 0;
  while (auto run = pending_[generation].find(from, blocks(), limit)) {
    if (stop.load()) return Status::failure(Code::closed, "the receiver was closed");
    uint64_t stripe = run->first / stripe_blocks;
    uint64_t stripe_end = (stripe + 1) * stripe_blocks;
    from = stripe_end;
    if (stripe % parts != part->index) continue;
    run->count = std::min(run->count, stripe_end - run->first);
    Status status = verify_run(origin, *run, generation, buffer.get(), hashes, &part->wrong);
    if (!status.ok()) return status;
    from = run->end();
  }
  return {};
}

// While data streams in, the threads take turns with those that receive; when that has ended they
// have the processor to themselves.
Status DestinationDigest::verify(Origin& origin, unsigned generation,
                                 const std::atomic<bool>& stop, std::vector<BlockRange>* wrong) {
  bool much = pending_[generation].count() * missing_.block_size() >= kMuchToVerify;
  std::vector<Part> parts(much ? kVerifyThreads : 1);
  auto verify_one = [&](Part* part) {
    part->status = verify_part(origin, generation, part, parts.size(), stop);
  };
  std::vector<std::future<void>> others;
  for (size_t i = 0; i < parts.size(); i++) parts[i].index = i;
  for (size_t i = 1; i < parts.size(); i++) {
    // Without a thread to be had, it is done when it is waited for.
    auto policy = std::launch::async | std::launch::deferred;
    others.push_back(std::async(policy, verify_one, &parts[i]));
  }
  verify_one(&parts[0]);
  for (auto& other : others) other.get();
  Status status;
  for (Part& part : parts) {
    wrong->insert(wrong->end(), part.wrong.begin(), part.wrong.end());
    if (status.ok()) status = std::move(part.status);
  }
  return status;
}

void DestinationDigest::trust(unsigned generation) {
  uint64_t from = 0;
  while (auto run = pending_[generation].find(from, blocks(), kStripe / missing_.block_size())) {
    for (uint64_t block = run->first; block < run->end(); block++) {
      std::lock_guard lock(lock_of(block));
      if (!pending_[generation].test(block)) continue;
      pending_[generation].clear_blocks({block, 1});
      sum_.fetch_add(digest_term(block, load(expected_, block)));
    }
    from = run->end();
  }
}

}  // namespace blockferry
