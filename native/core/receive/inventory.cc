// The destination's inventory: what its disks hold, by hashes, so that the source need not send it.
// It makes a second attempt, a copy that comes back and a template cheap.
#include <algorithm>

#include "base/aligned_buffer.h"
#include "base/out_of_memory.h"
#include "disk/block_hash.h"
#include "receive/session.h"

namespace blockferry {

namespace {

constexpr uint64_t kChunk = 256 << 10;  // what stays in a core's cache while it is hashed

// What the origin's device holds there; a hole is not read.
Status hash_range(Origin& origin, uint64_t offset, uint64_t length, uint32_t block_size,
                  uint8_t* buffer, uint64_t* hashes) {
  uint64_t hole = 0;
  Status status = origin.hole_at(offset, length, &hole);
  if (!status.ok()) return status;
  if (hole == length) {
    std::fill_n(hashes, (length + block_size - 1) / block_size, kZeroBlock);
    return {};
  }
  status = origin.reread(buffer, offset, length);
  if (status.ok()) hash_blocks(buffer, length, block_size, hashes);
  return status;
}

Status send_hashes(Socket& socket, uint32_t disk, uint64_t offset, uint64_t length,
                   std::vector<uint64_t>& hashes) {
  FrameHeader header;
  header.type = FrameType::hashes;
  header.disk = disk;
  header.offset = offset;
  header.length = length;
  bool zeroes =
      std::all_of(hashes.begin(), hashes.end(), [](uint64_t h) { return h == kZeroBlock; });
  if (zeroes) hashes.clear();
  header.payload = static_cast<uint32_t>(hashes.size() * sizeof(uint64_t));
  header.check = check_of(hashes.data(), hashes.size(), offset);
  uint8_t bytes[kHeaderSize];
  encode_header(header, bytes);
  iovec parts[2] = {{bytes, sizeof bytes}, {hashes.data(), header.payload}};
  return socket.send(parts, header.payload == 0 ? 1 : 2);
}

}  // namespace

Status ReceiverSession::join_inventory(Socket& socket) {
  std::lock_guard lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the session has ended");
  bool agreed =
      std::any_of(disks_.begin(), disks_.end(), [](auto& disk) { return disk->inventory; });
  if (stream_count_ == 0 || !agreed || inventory_asked_) {
    return Status::failure(Code::protocol, "an inventory that was not agreed on");
  }
  inventory_asked_ = true;
  other_sockets_.insert(&socket);
  running_streams_++;
  return {};
}

void ReceiverSession::run_inventory(Socket& socket) {
  Status status = contain([&] { return tell_all(socket); });
  if (!status.ok()) fail(std::move(status));
  std::lock_guard lock(mutex_);
  other_sockets_.erase(&socket);
  running_streams_--;
  changed_.notify_all();
}

Status ReceiverSession::tell_all(Socket& socket) {
  for (uint32_t disk = 0; disk < disks_.size(); disk++) {
    Status status = disks_[disk]->inventory ? tell_inventory(socket, disk) : Status{};
    if (!status.ok()) return status;
  }
  std::vector<uint64_t> none;
  return send_hashes(socket, 0, 0, 0, none);
}

// Flushed first: what is counted as there must be on stable storage.
Status ReceiverSession::tell_inventory(Socket& socket, uint32_t disk) {
  uint64_t size = disks_[disk]->size;
  Status status = disks_[disk]->tap->origin().flush();
  for (uint64_t at = 0; at < size && status.ok();) {
    if (stop_.load()) return Status::failure(Code::closed, "the session has ended");
    uint64_t length = 0;
    status = tell_hole(socket, disk, at, &length);
    if (status.ok() && length == 0) {
      length = std::min(kStripe, size - at);
      status = tell_stripe(socket, disk, at, length);
    }
    at += length;
  }
  return status;
}

// The stripes from `offset` on that are holes as a whole, at once.
Status ReceiverSession::tell_hole(Socket& socket, uint32_t disk, uint64_t offset,
                                  uint64_t* length) {
  ReceivedDisk& received = *disks_[disk];
  uint64_t rest = received.size - offset, hole = 0, block_size = received.block_size;
  Status status = received.tap->origin().hole_at(offset, rest, &hole);
  if (!status.ok()) return status;
  *length = hole == rest ? rest : hole / kStripe * kStripe;
  for (uint64_t at = 0; at < *length; at += kStripe) {
    uint64_t part = std::min(kStripe, *length - at);
    received.digest.found({(offset + at) / block_size, (part + block_size - 1) / block_size},
                          nullptr);
  }
  std::vector<uint64_t> none;
  return *length == 0 ? Status{} : send_hashes(socket, disk, offset, *length, none);
}

Status ReceiverSession::tell_stripe(Socket& socket, uint32_t disk, uint64_t offset,
                                    uint64_t length) {
  ReceivedDisk& received = *disks_[disk];
  uint64_t block_size = received.block_size;
  uint64_t chunk = std::max(kChunk, block_size);
  auto buffer = make_aligned_buffer(chunk);
  std::vector<uint64_t> hashes((length + block_size - 1) / block_size);
  for (uint64_t at = 0; at < length; at += chunk) {
    Status status = hash_range(received.tap->origin(), offset + at, std::min(chunk, length - at),
                               received.block_size, buffer.get(), &hashes[at / block_size]);
    if (!status.ok()) return status;
  }
  received.digest.found({offset / block_size, hashes.size()}, hashes.data());
  return send_hashes(socket, disk, offset, length, hashes);
}

}  // namespace blockferry
