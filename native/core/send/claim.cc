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

// The next extent in the stripes of this stream, from the cursor on, with at most `limit` bytes.
bool StreamSender::claim_extent(uint64_t limit, Extent* extent) {
  for (; disk_ < sender_.disks_.size(); disk_++, block_ = 0) {
    SentDisk& disk = *sender_.disks_[disk_];
    uint64_t most = limit / disk.dirty->block_size();
    if (most == 0 && buffer_used_ != 0) return false;
    auto run = claim_run(disk, std::max<uint64_t>(most, 1));
    if (!run) continue;
    uint64_t offset = run->first * disk.dirty->block_size();
    *extent = {disk_, *run, offset, 0, buffer_.get() + buffer_used_, false};
    find_hole(disk, extent);
    uint64_t length = extent->blocks.count * disk.dirty->block_size();
    extent->length = std::min(length, disk.dirty->size() - offset);
    block_ = extent->blocks.end();
    return true;
  }
  return false;
}

// Stripe after stripe of this stream, from block_ on, as far as is known what the destination holds.
std::optional<BlockRange> StreamSender::claim_run(const SentDisk& disk, uint64_t limit) {
  DirtyMap& map = *disk.dirty;
  uint64_t known = disk.known_blocks.load();
  bool skip_young = !finishing() && sender_.defer_ms_.load() != 0;
  uint64_t stripe = block_ / stripe_blocks(map);
  while (stripe * stripe_blocks(map) < map.blocks()) {
    uint64_t end = std::min((stripe + 1) * stripe_blocks(map), map.blocks());
    if (end > known) {
      waits_for_inventory_ = true;
      return std::nullopt;
    }
    if (stripe % count_ == index_) {
      uint64_t from = std::max(block_, stripe * stripe_blocks(map));
      auto run = disk.tracking->claim({from, end - from}, limit, skip_young, marked_);
      if (run) return run;
    }
    stripe++;
  }
  return std::nullopt;
}

// Where the claimed blocks are a hole, claims as much of the rest of it as there is. Asked after
// the claim: a write that comes later marks its blocks again.
void StreamSender::find_hole(SentDisk& disk, Extent* extent) {
  DirtyMap& map = *disk.dirty;
  if (extent->blocks.count * map.block_size() < kMinHole) return;
  uint64_t stripe_end =
      std::min((extent->blocks.first / stripe_blocks(map) + 1) * stripe_blocks(map), map.blocks());
  uint64_t hole_end = hole_until(disk, {extent->blocks.first, stripe_end - extent->blocks.first});
  uint64_t end = extent->blocks.end();
  if (hole_end < end) return;
  extent->hole = true;
  if (hole_end == end) return;
  auto more = disk.tracking->claim({end, hole_end - end}, hole_end - end, false, marked_);
  if (!more) return;
  if (more->first == end && hole_until(disk, *more) == more->end()) {
    extent->blocks.count += more->count;
  } else {
    map.mark_blocks(*more);
  }
}

// The first block of the range that is not wholly a hole, or its end. What can't be told is data.
uint64_t StreamSender::hole_until(SentDisk& disk, BlockRange range) {
  uint64_t block_size = disk.dirty->block_size();
  uint64_t offset = range.first * block_size;
  uint64_t length = std::min(range.end() * block_size, disk.dirty->size()) - offset;
  uint64_t hole = 0;
  if (!disk.tap->origin().hole_at(offset, length, &hole).ok()) return range.first;
  return hole == length ? range.end() : range.first + hole / block_size;
}

}  // namespace blockferry
