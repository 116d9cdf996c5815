// The watch by dm-era as the stop point: it holds the writers, and lets them go on or fail.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "tap/dm/delay.h"
#include "tap/dm/watch.h"

namespace blockferry {

// Of the device's own page cache: what is in it is on no disk yet.
Status DmWatch::write_back() const {
  FileDescriptor device(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  bool done = device.open() && fsync(device.get()) == 0;
  return done ? Status{} : Status::from_errno(errno, "write back what is cached of " + path_);
}

// A file system that somebody has frozen already can't be frozen, and need not be.
Status DmWatch::freeze() {
  Status status = stack_->device().suspend(true);
  return status.code == Code::busy ? stack_->device().suspend(false) : status;
}

// Else what is written out at the end would be delayed.
void DmWatch::let_writes_pass() {
  std::lock_guard device(device_mutex_);
  if (phase_ == DmPhase::watching) (void)stack_->set_delay(0);
}

// Not when writers are to be held, or are: it would let them go on.
Status DmWatch::delay_writes(unsigned ms) {
  std::lock_guard device(device_mutex_);
  if (phase_ != DmPhase::watching || wanted_) {
    return Status::failure(Code::closed, "the writers of " + path_ + " can't be delayed now");
  }
  return stack_->set_delay(std::min(ms, kMaxDelayMs));
}

Status DmWatch::drain(std::chrono::steady_clock::duration) {
  Status status = failure();
  let_writes_pass();
  // This may take long, and nobody waits for it. Of a device that is suspended it would take for ever.
  if (status.ok() && !is_suspended(phase())) status = write_back();
  std::lock_guard device(device_mutex_);
  if (status.ok()) status = failure();
  if (!status.ok()) return status;
  if (is_suspended(phase_)) {
    DmInfo info;
    status = stack_->check();
    if (status.ok()) status = stack_->device().info(&info);
    if (!status.ok() || info.suspended) return fail(status);
    return fail(Status::failure(Code::unaccounted, path_ + " did not stay suspended"));
  }
  if (phase_ != DmPhase::watching) {
    return Status::failure(Code::closed, "the writers of " + path_ + " can't be held now");
  }
  // open() may have come before; if it comes from now on it waits, and lets them go on again.
  if (!wanted_) return Status::failure(Code::closed, "the writers of " + path_ + " are to go on");
  status = watchdog_->arm();
  if (!status.ok()) return status;
  status = freeze();
  if (!status.ok()) {
    watchdog_->disarm();
    return status;
  }
  watchdog_->show_life();  // that may have taken long
  move_to(DmPhase::held);
  status = last_marks();
  if (status.ok() && may_lose_) status = prepare_fence();
  return fail(status);
}

// Nobody writes any more. On a device of its own dm-era is not suspended yet.
Status DmWatch::last_marks() {
  auto look = [this] {
    EraState now;
    Status status = look_while_suspended(&now);
    return status.ok() ? mark(now, now.era) : status;
  };
  return stack_->delays() ? while_drained(look) : look();
}

// When nothing was asked of it there is nothing to do, and a checkpoint is not waited for.
void DmWatch::open() {
  if (!wanted_.exchange(false)) return;
  std::lock_guard device(device_mutex_);
  if (phase_ == DmPhase::fenced || !stack_) return;
  // First of all: resumed with it, the device would be fenced.
  bool prepared = phase_ == DmPhase::fencing || (may_lose_ && phase_ == DmPhase::held);
  Status withdrawn = prepared ? stack_->withdraw_fence() : Status{};
  may_lose_ = false;
  (void)watchdog_->fence_at_death(false);
  if (!is_suspended(phase_)) return;
  // If that fails the watchdog tries it again.
  if (withdrawn.ok() && stack_->device().resume().ok()) watchdog_->disarm();
  move_to(DmPhase::watching);
  (void)fail(withdrawn);  // its own table comes in the fence's place
  if (!failure().ok()) detach();
}

void DmWatch::refuse() {
  std::lock_guard device(device_mutex_);
  if (phase_ == DmPhase::fenced || !stack_) return;
  fence();
  // Without the mark it has to be unfenced by hand, no more.
  if (phase_ == DmPhase::fenced) (void)stack_->mark_moved();
}

void DmWatch::fence() {
  // It stays suspended if that fails, and the watchdog tries it again at the end.
  if (!is_refusing(phase_)) {
    move_to(is_suspended(phase_) ? DmPhase::fencing : DmPhase::fencing_loose);
  }
  (void)watchdog_->fence_at_death(true);
  if (!stack_->fence().ok()) return;
  watchdog_->disarm();
  move_to(DmPhase::fenced);
}

// Nothing is lost to the other side before both drain() and this have returned, in whatever order.
Status DmWatch::may_lose_disk() {
  std::lock_guard device(device_mutex_);
  may_lose_ = true;
  return is_suspended(phase_) ? prepare_fence() : Status{};
}

// The watchdog first: it would resume what is loaded. Should it die, too, the loaded table tells.
Status DmWatch::prepare_fence() {
  Status status = watchdog_->fence_at_death(true);
  if (!status.ok()) status = watchdog_->arm();  // another one
  return status.ok() ? stack_->prepare_fence() : status;
}

}  // namespace blockferry
