#include "write_account.h"

#include <algorithm>
#include <cerrno>
#include <thread>

#include "start_thread.h"

namespace blockferry {

namespace {

constexpr std::chrono::microseconds kLook{200};
constexpr int kDrains = 20;
constexpr int64_t kNeverIdle = INT64_MIN;

}  // namespace

// Sectors written less those issued, while the disk is made idle for a moment. What is read first
// lags behind, and a request can have left the driver and not be accounted yet: a balance can be
// seen too low, but never too high.
Status WriteAccount::drained_balance(int64_t* balance) const {
  std::atomic<bool> drained{false};
  std::thread drain;
  Status drain_status;
  Status status = start_thread(&drain, [&] {
    drain_status = device_.drain_queue();
    drained = true;
  });
  if (!status.ok()) return status;
  *balance = kNeverIdle;
  for (bool last = false; status.ok() && !last;) {
    last = drained;
    uint64_t in_flight = 0, written = 0;
    status = device_.writes_in_flight(&in_flight);
    if (status.ok()) status = device_.written_sectors(&written);
    auto seen = static_cast<int64_t>(written - counter(COUNT_SECTORS));
    if (in_flight == 0) *balance = std::max(*balance, seen);
    std::this_thread::sleep_for(kLook);
  }
  drain.join();
  return status.ok() ? drain_status : status;
}

// Two in a row agree when both were seen at an idle moment.
Status WriteAccount::begin() {
  int64_t before = kNeverIdle;
  for (int tries = 0; tries < kDrains; tries++) {
    uint64_t misses = program_.misses(), untold = counter(COUNT_UNTOLD);
    int64_t balance = 0;
    Status status = drained_balance(&balance);
    if (!status.ok()) return status;
    if (balance == before && balance != kNeverIdle) {
      base_ = balance;
      misses_before_ = misses;
      untold_before_ = untold;
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
         static_cast<int64_t>(written - issued) == base_;
}

Status WriteAccount::unaccounted(const std::string& why) const {
  return Status::failure(Code::unaccounted, "the tap may have missed writes to " + device_.path() +
                                                ": " + why);
}

Status WriteAccount::unbalanced() const {
  return unaccounted("its sectors are not those of the kernel's statistics");
}

Status WriteAccount::check() const {
  if (program_.misses() != misses_before_) {
    return unaccounted("the kernel did not run it each time");
  }
  if (counter(COUNT_UNTOLD) != untold_before_) {
    return unaccounted("there were commands of which one can't tell what they write");
  }
  return {};
}

}  // namespace blockferry
