#include "net/pacer.h"

#include <algorithm>
#include <thread>

namespace blockferry {

void Pacer::set(double bytes_per_second) {
  std::lock_guard lock(mutex_);
  if (bytes_per_second == rate_) return;
  rate_ = bytes_per_second;
  next_ = {};
  changes_++;
}

void Pacer::share(std::shared_ptr<SharedPacer> above) {
  std::lock_guard lock(mutex_);
  above_ = std::move(above);
}

uint64_t Pacer::changes() {
  std::lock_guard lock(mutex_);
  return changes_;
}

void Pacer::wait(uint64_t bytes, const std::function<bool()>& stopped) {
  wait_here(bytes, stopped);
  std::shared_ptr<SharedPacer> above;
  {
    std::lock_guard lock(mutex_);
    above = above_;
  }
  if (above) above->wait(flow_, bytes, stopped);
}

void Pacer::wait_here(uint64_t bytes, const std::function<bool()>& stopped) {
  for (;;) {
    uint64_t booked_at = changes();
    auto now = Clock::now();
    auto due = now + reserve(bytes, now);
    while (now < due && !stopped() && changes() == booked_at) {
      std::this_thread::sleep_for(std::min<Clock::duration>(due - now, kLook));
      now = Clock::now();
    }
    if (now >= due || stopped()) return;
  }
}

Pacer::Clock::duration Pacer::reserve(uint64_t bytes, Clock::time_point now) {
  std::lock_guard lock(mutex_);
  if (rate_ <= 0) return Clock::duration::zero();
  next_ = std::max(next_, now - kBurst);
  auto wait = std::max(next_ - now, Clock::duration::zero());
  next_ += std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(static_cast<double>(bytes) / rate_));
  return wait;
}

}  // namespace blockferry
