// What was handed on and is not dealt with yet: who hands on waits while that is much.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>

namespace blockferry {

class Backlog {
 public:
  // Of what is handed on; dealt with when the last copy goes.
  using Share = std::shared_ptr<void>;

  explicit Backlog(size_t limit) : limit_(limit) {}

  // Waits until it fits beside the others. What is larger than the limit goes alone. Null: closed.
  Share take(size_t size) {
    auto use = std::make_shared<Use>(state_);
    std::unique_lock lock(state_->mutex);
    state_->changed.wait(
        lock, [&] { return state_->closed || state_->used == 0 || state_->used + size <= limit_; });
    if (state_->closed) return nullptr;
    state_->used += size;
    use->size = size;
    return use;
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
  struct Use {
    explicit Use(std::shared_ptr<State> of) : state(std::move(of)) {}
    Use(const Use&) = delete;
    ~Use() {
      if (size == 0) return;
      std::lock_guard lock(state->mutex);
      state->used -= size;
      state->changed.notify_all();
    }
    std::shared_ptr<State> state;
    size_t size = 0;
  };
  size_t limit_;
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace blockferry
