// What a stream sends next: claims on the dirty maps, in the stripes that are the stream's own.
#include <algorithm>

#include "send/stream.h"

namespace blockferry {

namespace {

constexpr uint64_t kMinHole = 64 << 10;

uint64_t stripe_blocks(const DirtyMap& map) { return kStripe / map.block_size(); }

}  // namespace

bool StreamSender::collect() {
  extents_.clear();
  buffer_used_ = 0;
  uint64_t limit = sender_.max_extent_.load();
  while (extents_.size() < kMaxExtentsInBatch && buffer_used_ < limit) {
    Extent extent;
    if (!claim_extent(limit - buffer_used_, &extent)) break;
    extents_.push_back(extent);
    if (!extent.hole) {
      buffer_used_ += extent.blocks.count * sender_.disks_[extent.disk]->dirty->block_size();
    }
  }
  if (!extents_.empty()) found_in_pass_ = true;
  return !extents_.empty();
}

// The next extent in the stripes of this stream, from the cursor on, with at most `limit` bytes to read.
bool StreamSender::claim_extent(uint64_t limit, Extent* extent) {
  for (; disk_ < sender_.disks_.size(); disk_++, block_ = 0) {
    SentDisk& disk = *sender_.disks_[disk_];
    uint64_t block_size = disk.dirty->block_size();
    uint64_t most = limit / block_size;
    if (most == 0 && buffer_used_ != 0) return false;
    bool hole = false;
    auto run = claim_run(disk, std::max<uint64_t>(most, 1), &hole);
    if (!run) continue;
    uint64_t offset = run->first * block_size;
    uint64_t length = std::min(run->count * block_size, disk.dirty->size() - offset);
    *extent = {disk_, *run, offset, length, buffer_.get() + buffer_used_, hole};
    block_ = run->end();
    return true;
  }
  return false;
}

// Stripe after stripe of this stream, from block_ on, as far as is known what the destination holds.
std::optional<BlockRange> StreamSender::claim_run(const SentDisk& disk, uint64_t limit,
                                                  bool* hole) {
  DirtyMap& map = *disk.dirty;
  uint64_t known = disk.known_blocks.load();
  for (uint64_t block = map.next(block_); block < map.blocks(); block = map.next(block)) {
    uint64_t stripe = block / stripe_blocks(map);
    uint64_t end = std::min((stripe + 1) * stripe_blocks(map), map.blocks());
    if (end > known) {
      waits_for_inventory_ = true;
      return std::nullopt;
    }
    if (stripe % count_ == index_) {
      auto run = claim_in_stripe(disk, {block, end - block}, limit, hole);
      if (run) return run;
    }
    block = end;
  }
  // What is clean now can be dirty before all of it is known.
  waits_for_inventory_ |= known < map.blocks();
  return std::nullopt;
}

// A hole is claimed as far as it goes, data up to `limit` blocks. Asked for a hole before the claim, which
// says how much to claim, and after it, which counts: a write that comes later marks its blocks again.
std::optional<BlockRange> StreamSender::claim_in_stripe(const SentDisk& disk, BlockRange part,
                                                        uint64_t limit, bool* hole) {
  DirtyMap& map = *disk.dirty;
  bool skip_young = !finishing() && sender_.defer_ms_.load() != 0;
  auto seen = map.find(part.first, part.end(), part.count);
  uint64_t empty = 0;
  if (seen && seen->count * map.block_size() >= kMinHole) {
    empty = hole_until(disk, *seen) - seen->first;
    if (empty < std::min(seen->count, limit)) empty = 0;
  }
  auto run = disk.tracking->claim(part, empty != 0 ? empty : limit, skip_young, marked_);
  if (!run || empty == 0) return run;
  *hole = hole_until(disk, *run) == run->end();
  if (*hole || run->count <= limit) return run;
  map.mark_blocks({run->first + limit, run->count - limit});
  return BlockRange{run->first, limit};
}

// The first block of the range that is not wholly a hole, or its end. What can't be told is data.
uint64_t StreamSender::hole_until(const SentDisk& disk, BlockRange range) {
  uint64_t block_size = disk.dirty->block_size();
  uint64_t offset = range.first * block_size;
  uint64_t length = std::min(range.end() * block_size, disk.dirty->size()) - offset;
  uint64_t hole = 0;
  if (!disk.tap->origin().hole_at(offset, length, &hole).ok()) return range.first;
  return hole == length ? range.end() : range.first + hole / block_size;
}

}  // namespace blockferry
