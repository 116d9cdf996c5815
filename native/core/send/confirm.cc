// What was sent in an earlier session and not written since: its hashes are known, so it is not read
// again. Where the destination still has it, it is told so; where not, it is sent like any other.
#include <algorithm>

#include "send/stream.h"

namespace blockferry {

// A batch of frames, for the stripes of this stream.
bool StreamSender::confirm() {
  frames_.clear();
  for (uint32_t disk = 0; disk < sender_.disks_.size(); disk++) {
    if (sender_.disks_[disk]->remembered == nullptr) continue;
    while (frames_.size() < kMaxExtentsInBatch && confirm_run(disk)) found_in_pass_ = true;
  }
  return !frames_.empty();
}

// The next run of the disk, as far as is known what the destination holds.
bool StreamSender::confirm_run(uint32_t index) {
  SentDisk& disk = *sender_.disks_[index];
  DirtyMap& map = *disk.remembered;
  uint64_t stripe_blocks = kStripe / map.block_size();
  uint64_t known = disk.known_blocks.load();
  uint64_t& at = confirmed_[index];  // nobody else takes from these stripes, and nothing comes back
  while (auto run = map.find(at, map.blocks(), stripe_blocks)) {
    uint64_t stripe = run->first / stripe_blocks;
    uint64_t end = std::min((stripe + 1) * stripe_blocks, map.blocks());
    if (stripe % count_ != index_) {
      at = end;
      continue;
    }
    if (end > known) {
      waits_for_inventory_ = true;
      return false;
    }
    run = map.claim(run->first, end, stripe_blocks);
    at = run->end();
    frame_remembered(index, *run);
    return true;
  }
  at = map.blocks();
  return false;
}

void StreamSender::frame_remembered(uint32_t index, BlockRange run) {
  SentDisk& disk = *sender_.disks_[index];
  const HashArray& known = disk.tracking->hashes();
  uint64_t block_size = disk.dirty->block_size();
  uint64_t offset = run.first * block_size;
  uint64_t length = std::min(run.count * block_size, disk.dirty->size() - offset);
  Extent extent{index, run, offset, length, nullptr, false};
  if (known.all_zero(run) && disk.peer->all_zero(run)) {
    frame_run(extent, {0, run.count}, nullptr, Kind::same);
    return;
  }
  std::vector<uint64_t> hashes(run.count);
  for (uint64_t i = 0; i < run.count; i++) hashes[i] = known.get(run.first + i);
  auto is_same = [&](uint64_t i) { return disk.peer->is(run.first + i, hashes[i]); };
  for (uint64_t at = 0; at < run.count;) {
    bool same = is_same(at);
    uint64_t end = at + 1;
    while (end < run.count && is_same(end) == same) end++;
    if (same) {
      frame_run(extent, {at, end - at}, &hashes[at], Kind::same);
    } else {
      disk.dirty->mark_blocks({run.first + at, end - at});
    }
    at = end;
  }
}

}  // namespace blockferry
