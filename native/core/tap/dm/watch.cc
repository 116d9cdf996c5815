#include "tap/dm/watch.h"

#include <algorithm>

#include "base/start_thread.h"
#include "disk/device_claim.h"
#include "tap/dm/check.h"

namespace blockferry {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPause{100};
// A checkpoint, and what it holds writes up for, take at most these shares of the time.
constexpr int kShare = 10;
constexpr int kHoldShare = 20;
constexpr milliseconds kSignOfLife{1000};

}  // namespace

Status DmWatch::open(const std::string& path, const std::string& metadata, bool delays,
                     std::string* below) {
  path_ = path;
  metadata_ = metadata;
  DmDevice device;
  Status status = check_dm_device(path, &block_, &device);
  if (status.ok()) status = check_dm_metadata(*block_, metadata);
  if (status.ok()) status = claim_device(block_->number(), path, &claim_);
  if (status.ok()) status = DmWatchdog::start(device, &watchdog_);
  if (status.ok()) status = DmStack::insert(device, metadata, delays, *watchdog_, &stack_);
  if (!status.ok()) return status;
  move_to(DmPhase::watching);
  *below = "/dev/dm-" + std::to_string(stack_->inner().minor_number());
  status = begin_account();
  if (status.ok()) status = block_->written(&before_);
  if (status.ok()) status = start_thread(&thread_, [this] { run(); });
  return status;
}

DmWatch::~DmWatch() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (!stack_) return;
  // Whoever goes while the disk may be another's leaves it so that nobody writes.
  if (may_lose_ && is_suspended(phase_)) fence();
  if (is_refusing(phase_) && phase_ != DmPhase::fenced) watchdog_->leave_it_to_helper();
  if (is_refusing(phase_)) return;
  detach();
  (void)stack_->remove_inner();
}

void DmWatch::track(DirtyMap* map) {
  {
    std::lock_guard lock(mutex_);
    map_ = map;
    maps_++;
  }
  changed_.notify_all();
}

void DmWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (is_suspended(phase_)) {
      watchdog_->show_life();
      changed_.wait_for(lock, kSignOfLife);
      continue;
    }
    if (!map_ || !failure_.ok()) {
      changed_.wait(lock);
      continue;
    }
    lock.unlock();
    auto begin = Clock::now();
    {
      std::lock_guard device(device_mutex_);
      if (phase_ == DmPhase::watching && failure().ok()) {
        Status status = contain([this] { return checkpoint(); });
        insist([&] { (void)fail(status); });
      }
    }
    auto pause = std::max<Clock::duration>(kPause, kShare * (Clock::now() - begin));
    pause = std::max(pause, kHoldShare * hold_time_);
    lock.lock();
    changed_.wait_for(lock, pause, [this] { return stop_ || is_suspended(phase_); });
  }
}

// Called with device_mutex_ locked. What is not known of the writes since must not be relied on, and
// dm-era, which may fail them, goes out of their way. The first failure counts.
Status DmWatch::fail(Status status) {
  if (status.ok() || !failure().ok()) return status;
  bool gone = status.code == Code::table_changed || status.code == Code::not_found;
  if (!gone) status.code = Code::unaccounted;
  if (phase_ == DmPhase::watching) detach();
  std::lock_guard lock(mutex_);
  failure_ = status;
  return status;
}

void DmWatch::detach() {
  if (phase_ == DmPhase::bare) return;
  Status status = stack_->detach();
  if (status.ok() || status.code == Code::table_changed) move_to(DmPhase::bare);
}

// Called with device_mutex_ locked. What is not known of a mistake of ours must not be relied on either.
void DmWatch::move_to(DmPhase next) {
  {
    std::lock_guard lock(mutex_);
    if (may_follow(phase_, next)) {
      phase_ = next;
    } else {
      failure_ =
          Status::failure(Code::internal, "the dm tap of " + path_ + ": no way from phase " +
                                              std::to_string(static_cast<int>(phase_)) + " to " +
                                              std::to_string(static_cast<int>(next)));
    }
  }
  changed_.notify_all();
}

DmPhase DmWatch::phase() const {
  std::lock_guard lock(mutex_);
  return phase_;
}

Status DmWatch::failure() const {
  std::lock_guard lock(mutex_);
  return failure_;
}

Status DmWatch::check() const { return failure(); }

Status DmWatch::begin() {
  std::lock_guard device(device_mutex_);
  if (failure().ok()) return {};
  Status status;
  if (phase_ == DmPhase::bare) {
    status = stack_->attach_again(metadata_);
    if (!status.ok()) return status;
    move_to(DmPhase::watching);
  }
  status = begin_account();
  if (!status.ok()) return status;
  {
    std::lock_guard lock(mutex_);
    failure_ = {};
  }
  changed_.notify_all();
  return {};
}

WatchStats DmWatch::stats() const {
  BlockDevice::Written now;
  if (!block_->written(&now).ok()) return {};
  return {now.writes - before_.writes, (now.sectors - before_.sectors) * 512};
}

Status open_dm_watch(const std::string& path, const std::string& metadata, bool delays,
                     std::unique_ptr<WriteWatch>* watch, std::string* below) {
  auto opened = std::make_unique<DmWatch>();
  Status status = opened->open(path, metadata, delays, below);
  if (status.ok()) *watch = std::move(opened);
  return status;
}

Status check_dm_watch(const std::string& path) {
  std::unique_ptr<BlockDevice> block;
  DmDevice device;
  return check_dm_device(path, &block, &device);
}

}  // namespace blockferry
