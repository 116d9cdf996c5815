#include "disk/uring_queue.h"

#ifdef BLOCKFERRY_HAVE_LIBURING

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

#include "base/file_descriptor.h"
#include "base/out_of_memory.h"
#include "disk/thread_queue.h"

namespace blockferry {

namespace {

constexpr uint64_t kMaxTransfer = 1u << 30;

class UringQueue : public IoQueue {
 public:
  UringQueue(Origin& origin, unsigned depth)
      : origin_(origin),
        depth_(depth),
        event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        threads_(origin, depth, event_.get()) {}

  bool start() {
    if (!event_.open() || io_uring_queue_init(depth_, &ring_, 0) != 0) return false;
    ready_ = true;
    return io_uring_register_eventfd(&ring_, event_.get()) == 0;
  }

  ~UringQueue() override {
    if (!ready_) return;
    while (in_ring_ > 0) {
      if (reap() != nullptr) continue;
      pollfd wait{event_.get(), POLLIN, 0};
      poll(&wait, 1, -1);
    }
    io_uring_queue_exit(&ring_);
  }

  void submit(IoRequest* request) override {
    request->progress = 0;
    request->status = {};
    if (!suits_ring(*request) || !enter(request)) hand_over(request);
  }

  IoRequest* reap() override {
    if (IoRequest* request = next()) return request;
    eventfd_t ignored;
    eventfd_read(event_.get(), &ignored);
    return next();
  }

  int wait_fd() const override { return event_.get(); }
  const char* backend() const override { return "io_uring"; }

 private:
  void hand_over(IoRequest* request) {
    in_threads_++;
    threads_.submit(request);
  }

  // What syncs goes through the origin (durability.h).
  static bool suits_ring(const IoRequest& request) {
    return request.kind == IoKind::read || (request.kind == IoKind::write && !request.durable);
  }

  // Puts what is left of the request into the ring. False where the kernel doesn't take it: no memory
  // now, or no such call any more.
  bool enter(IoRequest* request) {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) return false;
    uint8_t* at = static_cast<uint8_t*>(request->buffer) + request->progress;
    uint64_t offset = request->offset + request->progress;
    auto length =
        static_cast<unsigned>(std::min(request->length - request->progress, kMaxTransfer));
    if (request->kind == IoKind::read) {
      io_uring_prep_read(entry, origin_.descriptor(), at, length, offset);
    } else {
      io_uring_prep_write(entry, origin_.descriptor(), at, length, offset);
    }
    io_uring_sqe_set_data(entry, request);
    io_uring_submit(&ring_);
    if (io_uring_sq_ready(&ring_) > 0) {
      withdraw(entry);
      return false;
    }
    in_ring_++;
    return true;
  }

  // It stays in the ring, and must do nothing when it is taken after all.
  static void withdraw(io_uring_sqe* entry) {
    io_uring_prep_nop(entry);
    io_uring_sqe_set_data(entry, nullptr);
  }

  IoRequest* next() {
    io_uring_cqe* entry;
    while (io_uring_peek_cqe(&ring_, &entry) == 0) {
      auto* request = static_cast<IoRequest*>(io_uring_cqe_get_data(entry));
      int result = entry->res;
      io_uring_cqe_seen(&ring_, entry);
      if (request == nullptr) continue;
      in_ring_--;
      if (finish(request, result)) return request;
    }
    IoRequest* request = in_threads_ == 0 ? nullptr : threads_.reap();
    if (request != nullptr) in_threads_--;
    return request;
  }

  // False when it goes on: a part was done, it was interrupted, or what the ring can't do a blocking
  // call can, or finds the words for it.
  bool finish(IoRequest* request, int result) {
    if (result > 0) request->progress += static_cast<uint64_t>(result);
    if (request->progress >= request->length) return true;
    if (is_final(result)) {
      const char* what = request->kind == IoKind::read ? "read" : "write";
      request->status = contain(
          [&] { return failed_io(origin_, what, request->offset, request->length, -result); });
      return true;
    }
    bool goes_on = result > 0 || result == -EINTR || result == -EAGAIN;
    if (!goes_on || !enter(request)) hand_over(request);
    return false;
  }

  static bool is_final(int result) {
    switch (result) {
      case -EIO:
      case -ENOSPC:
      case -EDQUOT:
      case -EFBIG:
      case -EROFS:
      case -EPERM:
      case -EBADF: return true;
      default: return false;
    }
  }

  Origin& origin_;
  unsigned depth_;
  FileDescriptor event_;
  io_uring ring_{};
  bool ready_ = false;
  unsigned in_ring_ = 0, in_threads_ = 0;
  ThreadQueue threads_;  // starts none before it is needed
};

}  // namespace

std::unique_ptr<IoQueue> make_uring_queue(Origin& origin, unsigned depth) {
  if (origin.ring_descriptor() < 0) return nullptr;
  auto queue = std::make_unique<UringQueue>(origin, std::max(depth, 1u));
  if (!queue->start()) return nullptr;
  return queue;
}

}  // namespace blockferry

#else

namespace blockferry {
std::unique_ptr<IoQueue> make_uring_queue(Origin&, unsigned) { return nullptr; }
}  // namespace blockferry

#endif
