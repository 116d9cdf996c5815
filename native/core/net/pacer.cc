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

void Pacer::share(std::shared_ptr<Pacer> above) {
  std::lock_guard lock(mutex_);
  above_ = std::move(above);
  changes_++;
}

uint64_t Pacer::changes() {
  std::lock_guard lock(mutex_);
  return changes_ + (above_ ? above_->changes() : 0);
}

void Pacer::wait(uint64_t bytes, const std::function<bool()>& stopped) {
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
  auto shared = above_ ? above_->reserve(bytes, now) : Clock::duration::zero();
  if (rate_ <= 0) return shared;
  next_ = std::max(next_, now - kBurst);
  auto wait = std::max({next_ - now, shared, Clock::duration::zero()});
  next_ += std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(static_cast<double>(bytes) / rate_));
  return wait;
}

}  // namespace blockferry
