// The gate between what the streams of a session receive and its disks. A stream passes it with each
// frame that it applies; while the destination decides, and after its commit, it is closed: what was
// compared is what is committed.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

namespace blockferry {

class StreamSeal {
 public:
  // Before any of them begins.
  void set_streams(unsigned count) { turns_ = std::vector<std::mutex>(count); }
  // The stream may apply a frame as long as it has the lock. Not owned: the gate is closed.
  std::unique_lock<std::mutex> enter(unsigned stream) {
    std::unique_lock turn(turns_[stream]);
    if (closed_.load()) turn.unlock();
    return turn;
  }
  // No stream is at a frame when this returns, nor will be: it waits for what they are writing.
  void close() {
    closed_ = true;
    for (std::mutex& turn : turns_) std::lock_guard wait(turn);
  }
  void lift() { closed_ = false; }

 private:
  std::atomic<bool> closed_{false};
  std::vector<std::mutex> turns_;
};

}  // namespace blockferry
