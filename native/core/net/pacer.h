// The bandwidth cap that all streams of a migration share, and above it perhaps one that several
// migrations share.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "net/shared_pacer.h"

namespace blockferry {

class Pacer {
 public:
  // Bytes a second; 0 is no cap.
  void set(double bytes_per_second) { own_.set(bytes_per_second); }
  // Stands under another from now on. Null for none.
  void share(std::shared_ptr<SharedPacer> above);
  // Waits until `bytes` may be sent, who comes first first, or until `stopped` says so.
  void wait(uint64_t bytes, const std::function<bool()>& stopped);

 private:
  SharedPacer own_;
  FairQueue::Flow flow_;
  // What it stands under, and its flow there.
  struct Above {
    std::shared_ptr<SharedPacer> pacer;
    FairQueue::Flow flow;
  };
  std::mutex mutex_;
  std::shared_ptr<Above> above_;
};

}  // namespace blockferry
