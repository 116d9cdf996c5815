// Checkpoints of the watch by dm-era.
//
// Why no write is lost. dm-era puts a block down as written in the current era before it lets the
// write go on, so a write may land long after its era has ended. A checkpoint is: suspend the device,
// which waits for every write that has begun and holds those that come; read which era it is, e;
// resume, by which dm-era begins era e + 1; then read what was written in era `since_` or later, mark
// that, and let the next checkpoint begin at e + 1.
//   A write that began before the suspend has landed, and is put down in an era up to e: this
//   checkpoint marks it after it has landed, as every era from `since_` on is read.
//   A write that begins after the suspend is put down in e + 1 or later: the next checkpoint marks it,
//   whether it has landed now or not, and that is after it has landed, as that one waits for it, too.
//   This one marks some of them as well, which costs that they are sent twice.
// So a block whose mark was taken from the dirty map and which was read before a write landed is
// marked once more after it has. That resuming begins a new era is checked at the next checkpoint.
//
// A discard passes dm-era as one, and only the block in which it begins is put down. So discards are
// cut to a length by the queue's limit, and where there were some since the last checkpoint that many
// blocks behind each one count as written, too; always, where nobody counts them. All of that is the
// queue of the device that has dm-era: of one above, a change of its table would undo it.
//
// While the device is suspended dm-era answers nothing, but it has committed all that it knows: then
// its metadata is read as it lies there, else by a snapshot.
#include <algorithm>
#include <cstdio>

#include "base/out_of_memory.h"
#include "tap/dm/watch.h"

namespace blockferry {

namespace {

using Clock = std::chrono::steady_clock;

// Of the metadata's space: dm-era fails writes when there is none left.
constexpr uint64_t kMostUsedPercent = 80;

}  // namespace

// From a first drain on: what was discarded before the queue's limit held has landed by then.
Status DmWatch::begin_account() {
  std::string whole = std::to_string(kEraBlock);
  Status status = BlockDevice::find(
      "/dev/dm-" + std::to_string(stack_->era_device().minor_number()), &era_block_);
  if (!status.ok()) return status;
  // Devices that can't discard pieces of that size discard nothing while there is a tap.
  if (era_block_->queue_setting("discard_max_bytes") != "0" &&
      !era_block_->set_queue("discard_max_bytes", whole).ok()) {
    (void)era_block_->set_queue("discard_max_bytes", "0");
  }
  // Else nobody knows whether there are discards. Older kernels have it off, and count all the same.
  (void)era_block_->set_queue("iostats", "1");
  since_ = 0;
  EraState now;
  status = while_drained([&] { return look_while_suspended(&now); });
  if (status.ok()) since_ = now.era + 1;
  return status;
}

Status DmWatch::checkpoint() {
  EraState now;
  Status status = while_drained([&] { return look_while_suspended(&now); });
  if (status.ok()) status = read_snapshot(now.era);
  return status.ok() ? check_space() : status;
}

// `look`: while nothing is in flight behind dm-era.
Status DmWatch::while_drained(const std::function<Status()>& look) {
  const DmDevice& device = stack_->era_device();
  DmWatchdog& watchdog = stack_->era_watchdog();
  Status status = watchdog.arm();
  if (!status.ok()) return status;
  auto begin = Clock::now();
  status = device.suspend(false);
  if (status.ok()) {
    status = contain(look);
    Status resumed = device.resume();
    if (status.ok()) status = resumed;
  }
  hold_time_ = Clock::now() - begin;
  watchdog.disarm();
  return status;
}

Status DmWatch::look_while_suspended(EraState* now) {
  Status status = stack_->check();
  if (status.ok()) status = EraMetadata(stack_->store().descriptor()).current(now);
  if (!status.ok()) return status;
  if (now->era < since_) {
    return Status::failure(Code::unaccounted,
                           "dm-era has not begun a new era: writes may be missing");
  }
  BlockDevice::Written written;
  status = era_block_->written(&written);
  uint64_t cut = 0;
  sscanf(era_block_->queue_setting("discard_max_bytes").c_str(), "%lu", &cut);
  discard_blocks_ = std::max(discard_blocks_, (cut + kEraBlock - 1) / kEraBlock);
  bool counted = era_block_->queue_setting("iostats") != "0";
  if (!counted || written.discards != discards_) widen_ = discard_blocks_;
  discards_ = written.discards;
  return status;
}

Status DmWatch::read_snapshot(uint64_t era) {
  const DmDevice& device = stack_->era_device();
  Status status = device.message("take_metadata_snap");
  if (!status.ok()) return status;
  EraState snapshot;
  status = EraMetadata(stack_->store().descriptor()).snapshot(&snapshot);
  if (status.ok()) status = mark(snapshot, era);
  Status dropped = device.message("drop_metadata_snap");
  return status.ok() ? dropped : status;
}

// What was marked in a map that was taken away meanwhile is marked again in the next one.
Status DmWatch::mark(const EraState& state, uint64_t era) {
  uint64_t maps = 0, marked_into = 0;
  {
    std::lock_guard lock(mutex_);
    maps = map_ ? maps_ : 0;
  }
  EraMetadata metadata(stack_->store().descriptor());
  Status status = metadata.written_since(state, since_, [&](BlockRange run) {
    std::lock_guard lock(mutex_);
    if (map_) map_->mark(run.first * kEraBlock, (run.count + widen_) * kEraBlock);
  });
  {
    std::lock_guard lock(mutex_);
    marked_into = map_ ? maps_ : 0;
  }
  if (status.ok() && maps != 0 && maps == marked_into) {
    since_ = era + 1;
    widen_ = 0;
  }
  return status;
}

Status DmWatch::check_space() {
  std::string line;
  Status status = stack_->era_device().target_status(&line);
  uint64_t block = 0, used = 0, total = 0;
  if (!status.ok()) return status;
  if (sscanf(line.c_str(), "%lu %lu/%lu", &block, &used, &total) != 3) {
    return Status::failure(Code::unaccounted, "dm-era has failed: '" + line + "'");
  }
  if (used * 100 <= total * kMostUsedPercent) return {};
  return Status::failure(Code::unaccounted, "the metadata of dm-era is nearly full");
}

}  // namespace blockferry
