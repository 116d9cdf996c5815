// A bandwidth cap for one flow or several: those that have something to send get equal shares. Of one flow, who comes
// first is served first.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>

#include "net/fair_queue.h"

namespace blockferry {

class SharedPacer {
 public:
  // Bytes a second; 0 is no cap. Counts at once, also for who waits already.
  void set(double bytes_per_second);
  // Waits until `bytes` of the flow may be sent, or until `stopped` says so. Idle time is not saved up
  // beyond 5 ms.
  void wait(FairQueue::Flow& flow, uint64_t bytes, const std::function<bool()>& stopped);

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kBurst{5};
  static constexpr std::chrono::milliseconds kLook{20};  // for the end

  // With the lock.
  bool may_go(const FairQueue::Request& request, Clock::time_point now) const;
  void book(uint64_t bytes);

  std::mutex mutex_;
  std::condition_variable changed_;
  FairQueue queue_;
  double rate_ = 0;
  Clock::time_point next_{};  // when what was let go will have been sent
};

}  // namespace blockferry
