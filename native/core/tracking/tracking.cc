#include "tracking/tracking.h"

#include <algorithm>

namespace blockferry {

namespace {

uint64_t blocks_of(uint64_t size, uint32_t block_size) {
  return (size + block_size - 1) / block_size;
}

// What is allocated at once: all but the hashes, which begin at a page of their own.
uint64_t words_at_once(uint64_t blocks) {
  uint64_t words = WritesInFlight::kSlots + 3 * DirtyMap::words_for(blocks);
  return (words + HashArray::kGroup - 1) / HashArray::kGroup * HashArray::kGroup;
}

}  // namespace

Tracking::Tracking(uint64_t size, uint32_t block_size)
    : Tracking(size, block_size, Parts{}, nullptr) {}

Tracking::Tracking(uint64_t size, uint32_t block_size, const Parts& parts,
                   std::unique_ptr<MapFile> file)
    : file_(std::move(file)),
      in_flight_(parts.slots),
      dirty_(size, block_size, parts.maps[0]),
      pending_{DirtyMap(size, block_size, parts.maps[1]),
               DirtyMap(size, block_size, parts.maps[2])},
      hashes_(parts.hashes, blocks_of(size, block_size), [this](BlockRange blocks) {
        if (file_) file_->back(blocks);
      }) {}

Tracking::Parts Tracking::share_out(Word* words, uint64_t blocks) {
  Parts parts;
  parts.hashes = words + words_at_once(blocks);
  parts.slots = words;
  words += WritesInFlight::kSlots;
  for (Word*& map : parts.maps) {
    map = words;
    words += DirtyMap::words_for(blocks);
  }
  return parts;
}

Status Tracking::open(const std::string& path, Origin& origin, uint32_t block_size,
                      std::shared_ptr<Tracking>* tracking, uint64_t watch) {
  uint64_t blocks = blocks_of(origin.size(), block_size);
  std::unique_ptr<MapFile> file;
  Status status =
      MapFile::open(path, origin, block_size, {words_at_once(blocks), blocks}, watch, &file);
  if (!status.ok()) return status;
  bool trusted = file->trusted();
  Parts parts = share_out(file->words(), blocks);
  tracking->reset(new Tracking(origin.size(), block_size, parts, std::move(file)));
  if (!trusted) return {};
  (*tracking)->file_->each_backed(
      [&](BlockRange blocks) { (*tracking)->hashes_.may_hold(blocks); });
  (*tracking)->in_flight_.recover(&(*tracking)->dirty_);
  (*tracking)->remark_pending();
  (*tracking)->remembers_ = (*tracking)->has_hashes_ = true;
  return {};
}

std::optional<BlockRange> Tracking::claim(BlockRange part, uint64_t limit, bool skip_young,
                                          uint64_t mark) {
  if (!file_) {
    auto run = dirty_.claim(part.first, part.end(), limit, skip_young);
    if (run) pending(mark).mark_blocks(*run);
    return run;
  }
  // Pending first: at no moment is a block in neither map.
  for (uint64_t from = part.first; auto seen = dirty_.find(from, part.end(), limit);) {
    pending(mark).mark_blocks(*seen);
    auto run = dirty_.claim(seen->first, seen->end(), limit, skip_young);
    if (run) return run;
    from = seen->end();
  }
  return std::nullopt;
}

uint64_t Tracking::remembered() const {
  if (!remembers_.load()) return 0;
  uint64_t unknown = dirty_.count() + pending_[0].count() + pending_[1].count();
  return dirty_.blocks() - std::min(dirty_.blocks(), unknown);
}

std::unique_ptr<DirtyMap> Tracking::begin_session(bool use_memory) {
  remark_pending();
  has_hashes_ = true;
  if (!remembers_.load() || !use_memory) {
    dirty_.mark_all();
    remembers_ = true;
    if (file_) file_->remember(true);
    return nullptr;
  }
  auto remembered = std::make_unique<DirtyMap>(dirty_.size(), dirty_.block_size());
  remembered->mark_all();
  for (uint64_t at = 0; auto run = dirty_.find(at, dirty_.blocks(), dirty_.blocks());) {
    remembered->clear_blocks(*run);
    at = run->end();
  }
  return remembered;
}

void Tracking::remark_pending() {
  for (DirtyMap& pending : pending_) {
    while (auto run = pending.find(0, pending.blocks(), pending.blocks())) {
      dirty_.mark_blocks(*run);
      pending.clear_blocks(*run);
    }
  }
}

void Tracking::forget() {
  remembers_ = false;
  if (file_) file_->remember(false);
}

// A write that finds no slot could be forgotten: then so is all.
uint32_t Tracking::began(uint64_t offset, uint64_t length) {
  if (!file_ || length == 0) return kNoSlot;
  file_->stamp();
  uint64_t first = offset / dirty_.block_size();
  auto slot = in_flight_.begin({first, (offset + length - 1) / dirty_.block_size() - first + 1});
  if (!slot) forget();
  return slot.value_or(kNoSlot);
}

void Tracking::ended(uint32_t slot, uint64_t took_ns) {
  if (slot == kNoSlot) {
    if (file_) file_->stamp();
    return;
  }
  in_flight_.end(slot);
  file_->stamp_end(took_ns);
}

void Tracking::close(Origin& origin) {
  if (file_) file_->close(origin);
}

}  // namespace blockferry
