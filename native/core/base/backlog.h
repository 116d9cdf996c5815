// What was handed on and is not dealt with yet: who hands on waits while that is much.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>

namespace blockferry {

class Backlog {
 public:
  // Of what is handed on; dealt with when the last copy goes.
  using Share = std::shared_ptr<void>;

  explicit Backlog(size_t limit) : limit_(limit) {}

  // Waits until it fits beside the others. What is larger than the limit goes alone. Null: closed.
  Share take(size_t size) {
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(lock, [&] {
      return state_->closed || state_->used == 0 || state_->used + size <= limit_;
    });
    if (state_->closed) return nullptr;
    state_->used += size;
    return Share(state_.get(), [state = state_, size](void*) {
      std::lock_guard returning(state->mutex);
      state->used -= size;
      state->changed.notify_all();
    });
  }
  // Nobody waits any more.
  void close() {
    std::lock_guard lock(state_->mutex);
    state_->closed = true;
    state_->changed.notify_all();
  }

 private:
  // Shares may outlive us.
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    size_t used = 0;
    bool closed = false;
  };
  size_t limit_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace blockferry
