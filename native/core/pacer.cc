#include "pacer.h"

#include <algorithm>

namespace blockferry {

void Pacer::set(double bytes_per_second) {
  std::lock_guard lock(mutex_);
  rate_ = bytes_per_second;
  next_ = {};
}

void Pacer::share(std::shared_ptr<Pacer> above) {
  std::lock_guard lock(mutex_);
  above_ = std::move(above);
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
