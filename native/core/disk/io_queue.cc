#include "disk/io_queue.h"

#include "base/out_of_memory.h"
#include "disk/thread_queue.h"
#include "disk/uring_queue.h"

namespace blockferry {

namespace {

Status done(Origin& origin, const IoRequest& request) {
  uint64_t offset = request.offset, length = request.length;
  Status status;
  switch (request.kind) {
    case IoKind::read: return origin.read(request.buffer, offset, length);
    case IoKind::write: return origin.write(request.buffer, offset, length, request.durable);
    case IoKind::write_zeroes:
      status = origin.write_zeroes(offset, length, request.zero_mode, request.fast_only);
      break;
    case IoKind::discard: status = origin.discard(offset, length); break;
    case IoKind::flush: return origin.flush();
    case IoKind::prefetch: return origin.prefetch(offset, length);
  }
  return status.ok() && request.durable ? origin.flush() : status;
}

}  // namespace

void perform(Origin& origin, IoRequest* request) {
  request->status = contain([&] { return done(origin, *request); });
}

Status failed_io(const Origin& origin, const char* what, uint64_t offset, uint64_t length,
                 int error) {
  return Status::from_errno(error, std::string(what) + " " + std::to_string(length) + " bytes at " +
                                       std::to_string(offset) + " of " + origin.name());
}

std::unique_ptr<IoQueue> make_io_queue(Origin& origin, unsigned depth, bool force_threads) {
  if (!force_threads) {
    if (auto queue = make_uring_queue(origin, depth)) return queue;
  }
  return std::make_unique<ThreadQueue>(origin, depth);
}

}  // namespace blockferry
