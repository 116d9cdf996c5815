#include "disk/thread_queue.h"

#include <sys/eventfd.h>

#include <algorithm>

#include "base/start_thread.h"

namespace blockferry {

ThreadQueue::ThreadQueue(Origin& origin, unsigned depth, int event)
    : origin_(origin), max_threads_(std::clamp(depth, 1u, kMaxThreads)), event_(event) {
  threads_.reserve(max_threads_);
  if (event_ >= 0) return;
  own_event_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  event_ = own_event_.get();
}

// What was submitted is finished before the threads go.
ThreadQueue::~ThreadQueue() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wanted_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadQueue::submit(IoRequest* request) {
  std::unique_lock lock(mutex_);
  if (has_thread()) {
    waiting_.push(request);
    return wanted_.notify_one();
  }
  lock.unlock();
  perform(origin_, request);
  lock.lock();
  finish(request);
}

// For one more than waits; another as long as all are at work.
bool ThreadQueue::has_thread() {
  if (event_ < 0) return false;
  if (waiting_.size() >= idle_ && threads_.size() < max_threads_) {
    Status status = start_thread(&threads_.emplace_back(), [this] { work(); });
    if (!status.ok()) threads_.pop_back();
  }
  return !threads_.empty();
}

void ThreadQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    idle_++;
    wanted_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    idle_--;
    if (waiting_.empty()) return;
    IoRequest* request = waiting_.pop();
    lock.unlock();
    perform(origin_, request);
    lock.lock();
    finish(request);
  }
}

void ThreadQueue::finish(IoRequest* request) {
  finished_.push(request);
  if (event_ >= 0) eventfd_write(event_, 1);
}

IoRequest* ThreadQueue::pop_finished() {
  std::lock_guard lock(mutex_);
  return finished_.empty() ? nullptr : finished_.pop();
}

IoRequest* ThreadQueue::reap() {
  if (IoRequest* request = pop_finished()) return request;
  // A queue that shares its event leaves the clearing to the owner of the event.
  eventfd_t ignored;
  if (own_event_.open()) eventfd_read(event_, &ignored);
  return pop_finished();
}

}  // namespace blockferry
