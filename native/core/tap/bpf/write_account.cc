#include "tap/bpf/write_account.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/start_thread.h"

namespace blockferry {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::microseconds kIdleLook{200};
// So many tries with the drain that changes nothing.
constexpr int kMildDrains = 5;
constexpr std::chrono::seconds kMostTime{10};
constexpr int64_t kNeverIdle = INT64_MIN;

}  // namespace

// Sectors written less those issued, while the disk is made idle for a moment. A request can have
// left the driver and not be accounted yet: a balance can be seen too low, but never too high.
Status WriteAccount::drained_balance(bool mildly, int64_t* balance) const {
  std::atomic<bool> drained{false};
  std::thread drain;
  Status drain_status;
  Status status = start_thread(&drain, [&] {
    drain_status =
        contain([&] { return mildly ? device_.drain_queue() : device_.drain_queue_by_depth(); });
    drained = true;
  });
  if (!status.ok()) return status;
  status = contain([&] { return watch_balance(drained, balance); });
  drain.join();
  return status.ok() ? drain_status : status;
}

// The highest at an idle moment until it is drained.
Status WriteAccount::watch_balance(const std::atomic<bool>& drained, int64_t* balance) const {
  *balance = kNeverIdle;
  for (bool last = false; !last;) {
    last = drained;
    uint64_t issued = counter(COUNT_SECTORS), in_flight = 0, written = 0;
    Status status = device_.writes_in_flight(&in_flight);
    if (status.ok()) status = device_.written_sectors(&written);
    if (!status.ok()) return status;
    if (in_flight == 0 && counter(COUNT_SECTORS) == issued) {
      *balance = std::max(*balance, static_cast<int64_t>(written - issued));
    }
    std::this_thread::sleep_for(kIdleLook);
  }
  return {};
}

// Two in a row agree when both were seen at an idle moment. On a busy host such a moment may pass
// before this thread runs.
Status WriteAccount::begin() {
  int64_t before = kNeverIdle;
  auto end = Clock::now() + kMostTime;
  for (int drains = 0; Clock::now() < end; drains++) {
    uint64_t misses = program_.misses(), untold = counter(COUNT_UNTOLD).load();
    int64_t balance = 0;
    Status status = drained_balance(drains < kMildDrains, &balance);
    if (!status.ok()) return status;
    if (balance == before && balance != kNeverIdle) {
      counter(KEPT_BALANCE).store(static_cast<uint64_t>(balance));
      counter(KEPT_MISSES).store(misses);
      counter(KEPT_UNTOLD).store(untold);
      return {};
    }
    before = balance;
  }
  return Status::failure(Code::busy, device_.path() + " was never without a write in flight",
                         EBUSY);
}

bool WriteAccount::balances() const {
  uint64_t issued = counter(COUNT_SECTORS), written = 0;
  return device_.written_sectors(&written).ok() && counter(COUNT_SECTORS) == issued &&
         written - issued == counter(KEPT_BALANCE);
}

Status WriteAccount::unaccounted(const std::string& why) const {
  return Status::failure(Code::unaccounted,
                         "the tap may have missed writes to " + device_.path() + ": " + why);
}

Status WriteAccount::unbalanced() const {
  return unaccounted("its sectors are not those of the kernel's statistics");
}

Status WriteAccount::check() const {
  if (program_.misses() != counter(KEPT_MISSES)) {
    return unaccounted("the kernel did not run it each time");
  }
  if (counter(COUNT_UNTOLD) != counter(KEPT_UNTOLD)) {
    return unaccounted("there were commands of which one can't tell what they write");
  }
  return {};
}

}  // namespace blockferry
