// The bandwidth cap that all streams of a migration share, and above it perhaps one that several
// migrations share: who comes first is served first, so streams get equal shares. It answers how
// long to wait; the caller waits.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>

namespace blockferry {

class Pacer {
 public:
  using Clock = std::chrono::steady_clock;
  // Bytes a second; 0 is no cap.
  void set(double bytes_per_second);
  // Stands under another from now on: what is booked here is booked there, too. Null for none.
  void share(std::shared_ptr<Pacer> above);
  // Books `bytes` and answers how long to wait before they may be sent. Idle time is not saved
  // up beyond 5 ms.
  Clock::duration reserve(uint64_t bytes, Clock::time_point now);

 private:
  static constexpr std::chrono::milliseconds kBurst{5};
  std::mutex mutex_;
  double rate_ = 0;
  std::shared_ptr<Pacer> above_;
  Clock::time_point next_{};  // when what was booked will have been sent
};

}  // namespace blockferry
