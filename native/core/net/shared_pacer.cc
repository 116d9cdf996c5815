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

void SharedPacer::wait(FairQueue::Flow& flow, uint64_t bytes,
                       const std::function<bool()>& stopped) {
  std::unique_lock lock(mutex_);
  if (rate_ <= 0) return;
  auto request = queue_.enter(flow, bytes);
  bool ended = false;
  for (auto now = Clock::now(); !may_go(request, now); now = Clock::now()) {
    ended = stopped();
    if (ended) break;
    auto look = now + kLook;
    changed_.wait_until(lock, queue_.is_first(request) ? std::min(look, next_) : look);
  }
  if (ended) {
    queue_.leave(request);
  } else {
    queue_.serve(request);
    book(bytes);
  }
  changed_.notify_all();
}

bool SharedPacer::may_go(const FairQueue::Request& request, Clock::time_point now) const {
  return rate_ <= 0 || (next_ <= now && queue_.is_first(request));
}

void SharedPacer::book(uint64_t bytes) {
  if (rate_ <= 0) return;
  next_ = std::max(next_, Clock::now() - kBurst);
  next_ += std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(static_cast<double>(bytes) / rate_));
}

}  // namespace blockferry
