// The IoQueue that works everywhere: threads that call the origin's blocking methods. Without a thread
// or a descriptor to be had, who submits does it.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "disk/io_queue.h"

namespace blockferry {

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
  std::deque<IoRequest*> waiting_;
  std::deque<IoRequest*> finished_;
  std::vector<std::thread> threads_;
  unsigned idle_ = 0;
  bool stop_ = false;
};

}  // namespace blockferry
