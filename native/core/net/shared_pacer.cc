#include "net/shared_pacer.h"

#include <algorithm>

namespace blockferry {

void SharedPacer::set(double bytes_per_second) {
  std::lock_guard lock(mutex_);
  if (bytes_per_second == rate_) return;
  rate_ = bytes_per_second;
  next_ = {};
  changed_.notify_all();
}

void SharedPacer::wait(FairQueue::Flow& flow, uint64_t bytes, const std::function<bool()>& stopped) {
  std::unique_lock lock(mutex_);
  auto request = queue_.enter(flow, bytes);
  for (;;) {
    if (stopped()) {
      queue_.leave(request);
      break;
    }
    auto now = Clock::now();
    bool first = queue_.is_first(request);
    if (rate_ <= 0 || (first && next_ <= now)) {
      queue_.serve(request);
      next_ = std::max(next_, now - kBurst);
      if (rate_ > 0) {
        next_ += std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double>(static_cast<double>(bytes) / rate_));
      }
      break;
    }
    auto look = now + kLook;
    changed_.wait_until(lock, first ? std::min(look, next_) : look);
  }
  changed_.notify_all();
}

}  // namespace blockferry
