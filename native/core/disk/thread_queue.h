// The IoQueue that works everywhere: threads that call the origin's blocking methods. Without a thread
// or a descriptor to be had, who submits does it.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "disk/io_queue.h"

namespace blockferry {

// In the order of their coming; needs no memory.
class RequestList {
 public:
  bool empty() const { return first_ == nullptr; }
  size_t size() const { return size_; }
  void push(IoRequest* request) {
    request->next = nullptr;
    (empty() ? first_ : last_->next) = request;
    last_ = request;
    size_++;
  }
  IoRequest* pop() {
    IoRequest* request = first_;
    first_ = request->next;
    size_--;
    return request;
  }

 private:
  IoRequest* first_ = nullptr;
  IoRequest* last_ = nullptr;
  size_t size_ = 0;
};

class ThreadQueue : public IoQueue {
 public:
  // `event` is the eventfd to signal, or -1 for one of its own.
  ThreadQueue(Origin& origin, unsigned depth, int event = -1);
  ~ThreadQueue() override;

  void submit(IoRequest* request) override;
  IoRequest* reap() override;
  int wait_fd() const override { return event_; }
  const char* backend() const override { return "threads"; }

 private:
  static constexpr unsigned kMaxThreads = 16;
  IoRequest* pop_finished();
  bool has_thread();
  void work();
  void finish(IoRequest* request);

  Origin& origin_;
  unsigned max_threads_;
  FileDescriptor own_event_;
  int event_;
  std::mutex mutex_;
  std::condition_variable wanted_;
  RequestList waiting_, finished_;
  std::vector<std::thread> threads_;
  unsigned idle_ = 0;
  bool stop_ = false;
};

}  // namespace blockferry
