#include "disk/io_queue.h"

#include "disk/thread_queue.h"
#include "disk/uring_queue.h"

namespace blockferry {

void perform(Origin& origin, IoRequest* request) {
  uint64_t offset = request->offset;
  uint64_t length = request->length;
  switch (request->kind) {
    case IoKind::read:
      request->status = origin.read(request->buffer, offset, length);
      break;
    case IoKind::write:
      request->status = origin.write(request->buffer, offset, length, request->durable);
      break;
    case IoKind::write_zeroes:
      request->status =
          origin.write_zeroes(offset, length, request->zero_mode, request->fast_only);
      if (request->status.ok() && request->durable) request->status = origin.flush();
      break;
    case IoKind::discard:
      request->status = origin.discard(offset, length);
      if (request->status.ok() && request->durable) request->status = origin.flush();
      break;
    case IoKind::flush:
      request->status = origin.flush();
      break;
    case IoKind::prefetch:
      request->status = origin.prefetch(offset, length);
      break;
  }
}

Status failed_io(const Origin& origin, const char* what, uint64_t offset, uint64_t length, int error) {
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
