// The bandwidth cap that all streams of a migration share, and above it perhaps one that several
// migrations share.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "net/shared_pacer.h"

namespace blockferry {

class Pacer {
 public:
  using Clock = std::chrono::steady_clock;
  // Bytes a second; 0 is no cap.
  void set(double bytes_per_second);
  // Stands under another from now on. Null for none.
  void share(std::shared_ptr<SharedPacer> above);
  // Waits until `bytes` may be sent, who comes first first, or until `stopped` says so. Another cap counts
  // at once, also for who waits already. Idle time is not saved up beyond 5 ms.
  void wait(uint64_t bytes, const std::function<bool()>& stopped);

 private:
  static constexpr std::chrono::milliseconds kBurst{5};
  static constexpr std::chrono::milliseconds kLook{20};  // for another cap, and for the end

  void wait_here(uint64_t bytes, const std::function<bool()>& stopped);
  // How long to wait before what is booked here may be sent.
  Clock::duration reserve(uint64_t bytes, Clock::time_point now);
  // Another number after each change of the cap.
  uint64_t changes();
  std::mutex mutex_;
  double rate_ = 0;
  uint64_t changes_ = 0;
  std::shared_ptr<SharedPacer> above_;
  FairQueue::Flow flow_;  // its lock is that of above_
  Clock::time_point next_{};  // when what was booked will have been sent
};

}  // namespace blockferry
