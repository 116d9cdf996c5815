// The write throttle: a token bucket in bytes/s, one in writes/s, and the threshold steps of
// Bradford et al. (VEE 2007): after N writes in a round, each further write is delayed by d µs.
// It answers how long to wait; the caller waits.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

namespace blockferry {

struct ThrottleStep {
  uint64_t after_writes = 0;  // in this round
  uint32_t delay_us = 0;      // the step with the largest threshold reached counts
};

struct ThrottleLimits {
  double bytes_per_second = 0;   // 0: no limit
  double writes_per_second = 0;  // 0: no limit
  double burst_bytes = 0;        // 0: what 10 ms allow, at least one block of 4 KiB
  double burst_writes = 0;       // 0: what 10 ms allow, at least 1
  std::vector<ThrottleStep> steps;

  bool any() const { return bytes_per_second > 0 || writes_per_second > 0 || !steps.empty(); }
};

// Fills at `rate` a second up to `burst`. A request goes when the balance is above zero and may
// take it below: a request larger than the burst is not starved.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;
  // A bucket that had no limit starts full. A change keeps the balance, so that frequent changes
  // grant no extra bursts; a debt keeps the time that it takes to pay off.
  void set(double rate, double burst, Clock::time_point now);
  bool limited() const { return rate_ > 0; }
  // Zero when a request may go now, else how long until one may.
  Clock::duration wait(Clock::time_point now);
  void take(double amount) { balance_ -= amount; }

 private:
  void refill(Clock::time_point now);
  double rate_ = 0;
  double burst_ = 0;
  double balance_ = 0;
  Clock::time_point last_{};
};

class Throttle {
 public:
  using Clock = std::chrono::steady_clock;
  void set(const ThrottleLimits& limits, Clock::time_point now);
  // Writes are counted, for the steps, only while a limit is set.
  void begin_round();
  bool active() const;  // lock-free
  // Asks for one write of `length` bytes which arrived at `since`: a step's delay counts from
  // there, for each write on its own. Zero: go, the tokens are taken. Otherwise ask again after
  // so long.
  Clock::duration ask(uint64_t length, Clock::time_point since, Clock::time_point now);

 private:
  Clock::duration step_delay() const;
  std::mutex mutex_;
  std::atomic<bool> active_{false};
  ThrottleLimits limits_;
  TokenBucket bytes_, writes_;
  uint64_t writes_this_round_ = 0;
};

}  // namespace blockferry
