// Many requests to one origin at once, for one thread: submit() some, sleep on wait_fd(),
// reap() the finished ones. Two backends: io_uring, and threads that call the origin.
//
// A queue belongs to one thread. Destroying it waits for everything submitted.
#pragma once

#include <cstdint>
#include <memory>

#include "base/status.h"
#include "disk/origin.h"

namespace blockferry {

enum class IoKind { read, write, write_zeroes, discard, flush, prefetch };

struct IoRequest {
  IoKind kind = IoKind::read;
  uint64_t offset = 0;
  uint64_t length = 0;
  void* buffer = nullptr;
  bool durable = false;  // write, write_zeroes: FUA
  ZeroMode zero_mode = ZeroMode::may_trim;
  bool fast_only = false;
  Status status;              // set when reaped
  uint64_t progress = 0;      // the queue's own
  IoRequest* next = nullptr;  // and this
};

class IoQueue {
 public:
  virtual ~IoQueue() = default;
  // At most `depth` requests may be outstanding. The request must live until it is reaped.
  virtual void submit(IoRequest* request) = 0;
  // A finished request, or nullptr when none is finished yet. Never blocks.
  virtual IoRequest* reap() = 0;
  // Becomes readable when a request may have finished; reap() until nullptr clears it. -1 where no
  // descriptor was to be had: then a request has finished when submit() returns.
  virtual int wait_fd() const = 0;
  virtual const char* backend() const = 0;  // "io_uring" or "threads"
};

// Does one request on the calling thread.
void perform(Origin& origin, IoRequest* request);

// `what`: read, write and so on.
Status failed_io(const Origin& origin, const char* what, uint64_t offset, uint64_t length,
                 int error);

// io_uring where the kernel and the origin have it, else threads. `force_threads` for tests.
std::unique_ptr<IoQueue> make_io_queue(Origin& origin, unsigned depth, bool force_threads = false);

}  // namespace blockferry
