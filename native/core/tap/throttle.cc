#include "tap/throttle.h"

#include <algorithm>
#include <cmath>

namespace blockferry {

namespace {

constexpr double kBurstSeconds = 0.01;
constexpr double kBlock = 4096;

double seconds(TokenBucket::Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

double burst_or_default(double burst, double rate, double least) {
  return burst > 0 ? burst : std::max(rate * kBurstSeconds, least);
}

}  // namespace

void TokenBucket::set(double rate, double burst, Clock::time_point now) {
  refill(now);
  if (!limited()) {
    balance_ = burst;
  } else if (balance_ < 0) {
    balance_ *= rate / rate_;
  }
  rate_ = rate;
  burst_ = burst;
  balance_ = std::min(balance_, burst_);
}

void TokenBucket::refill(Clock::time_point now) {
  if (limited() && now > last_) {
    balance_ = std::min(burst_, balance_ + rate_ * seconds(now - last_));
  }
  last_ = std::max(last_, now);
}

TokenBucket::Clock::duration TokenBucket::wait(Clock::time_point now) {
  if (!limited()) return {};
  refill(now);
  if (balance_ > 0) return {};
  // A year is for ever; more would overflow the clock's arithmetic for a tiny rate.
  constexpr double kLongest = 365.0 * 24 * 3600;
  auto nanoseconds = std::ceil(std::min(-balance_ / rate_, kLongest) * 1e9);
  return std::chrono::nanoseconds(static_cast<int64_t>(nanoseconds) + 1);
}

void Throttle::set(const ThrottleLimits& limits, Clock::time_point now) {
  std::lock_guard lock(mutex_);
  limits_ = limits;
  bytes_.set(limits.bytes_per_second,
             burst_or_default(limits.burst_bytes, limits.bytes_per_second, kBlock), now);
  writes_.set(limits.writes_per_second,
              burst_or_default(limits.burst_writes, limits.writes_per_second, 1), now);
  active_.store(limits.any(), std::memory_order_release);
}

void Throttle::begin_round() {
  std::lock_guard lock(mutex_);
  writes_this_round_ = 0;
}

bool Throttle::active() const { return active_.load(std::memory_order_acquire); }

Throttle::Clock::duration Throttle::step_delay() const {
  const ThrottleStep* reached = nullptr;
  for (const ThrottleStep& step : limits_.steps) {
    if (writes_this_round_ < step.after_writes) continue;
    if (reached == nullptr || step.after_writes > reached->after_writes) reached = &step;
  }
  return std::chrono::microseconds(reached == nullptr ? 0 : reached->delay_us);
}

Throttle::Clock::duration Throttle::ask(uint64_t length, Clock::time_point since,
                                        Clock::time_point now) {
  std::lock_guard lock(mutex_);
  auto wait = std::max({since + step_delay() - now, bytes_.wait(now), writes_.wait(now)});
  if (wait > Clock::duration::zero()) return wait;
  bytes_.take(static_cast<double>(length));
  writes_.take(1);
  writes_this_round_++;
  return {};
}

}  // namespace blockferry
