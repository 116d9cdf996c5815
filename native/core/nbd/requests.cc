#include "nbd/requests.h"

#include <algorithm>
#include <utility>

namespace blockferry {

using namespace nbd;

namespace {

bool is_write_like(uint16_t command) {
  return command == kCmdWrite || command == kCmdTrim || command == kCmdWriteZeroes;
}

// FUA means nothing to most commands but may be set on all.
uint16_t allowed_flags(uint16_t command) {
  switch (command) {
    case kCmdRead: return kFlagFua | kFlagDontFragment;
    case kCmdWriteZeroes: return kFlagFua | kFlagNoHole | kFlagFastZero;
    case kCmdBlockStatus: return kFlagFua | kFlagReqOne;
    default: return kFlagFua;
  }
}

Error error_of(const Status& status) {
  switch (status.code) {
    case Code::ok: return kOk;
    case Code::read_only:
    case Code::no_permission: return kEperm;
    case Code::no_memory: return kEnomem;
    case Code::invalid: return kEinval;
    case Code::no_space: return kEnospc;
    case Code::unsupported: return kEnotsup;
    case Code::closed: return kEshutdown;
    default: return kEio;
  }
}

IoKind kind_of(uint16_t command) {
  switch (command) {
    case kCmdWrite: return IoKind::write;
    case kCmdTrim: return IoKind::discard;
    case kCmdWriteZeroes: return IoKind::write_zeroes;
    case kCmdFlush: return IoKind::flush;
    case kCmdCache: return IoKind::prefetch;
    default: return IoKind::read;
  }
}

void fill_io(const Request& wire, IoRequest* io) {
  io->kind = kind_of(wire.command);
  io->offset = wire.offset;
  io->length = wire.length;
  io->durable = (wire.flags & kFlagFua) != 0;
  io->zero_mode = (wire.flags & kFlagNoHole) != 0 ? ZeroMode::keep_space : ZeroMode::may_trim;
  io->fast_only = (wire.flags & kFlagFastZero) != 0;
  io->status = {};
}

}  // namespace

NbdRequests::NbdRequests(Tap& tap, const NbdSession& session, unsigned depth, NbdBufferPool& pool,
                         NbdReplies& replies)
    : tap_(tap),
      origin_(tap.origin()),
      session_(session),
      depth_(std::max(depth, 1u)),
      pool_(pool),
      replies_(replies) {}

NbdRequests::~NbdRequests() {
  queue_.reset();
  for (const auto& request : slots_) {
    if (!request->admitted) continue;
    tap_.finished(request->ticket, request->wire.offset, request->wire.length);
  }
}

Error NbdRequests::check(const Request& wire) const {
  if (wire.command > kCmdBlockStatus || wire.command == kCmdDisconnect) return kEinval;
  if ((wire.flags & ~allowed_flags(wire.command)) != 0) return kEinval;
  if (wire.command == kCmdFlush) return kOk;
  if (is_write_like(wire.command) && session_.entry.read_only) return kEperm;
  if (wire.command == kCmdBlockStatus && !session_.allocation_context) return kEinval;
  if (wire.command == kCmdRead && wire.length > kMaxPayload) return kEinval;
  uint64_t size = origin_.size();
  if (wire.offset > size || wire.length > size - wire.offset) {
    bool grows = wire.command == kCmdWrite || wire.command == kCmdWriteZeroes;
    return grows ? kEnospc : kEinval;
  }
  if (wire.length == 0) return kEinval;
  return (wire.offset | wire.length) % origin_.alignment() == 0 ? kOk : kEinval;
}

NbdRequest* NbdRequests::take(const Request& wire) {
  if (free_.empty()) {
    slots_.push_back(std::make_unique<NbdRequest>());
    free_.push_back(slots_.back().get());
  }
  NbdRequest* request = free_.back();
  free_.pop_back();
  used_++;
  request->wire = wire;
  fill_io(wire, request);
  if (is_write_like(wire.command)) request->ticket = {};
  return request;
}

void NbdRequests::release(NbdRequest* request) {
  payload_bytes_ -= request->payload.capacity;
  pool_.give_back(std::exchange(request->payload, {}));
  request->admitted = false;
  free_.push_back(request);
  used_--;
}

void NbdRequests::own_buffer(NbdRequest* request) {
  request->payload = pool_.take(request->wire.length);
  request->buffer = request->payload.data();
  payload_bytes_ += request->payload.capacity;
}

// The receive buffer will be used again: what must wait needs a copy of its payload.
void NbdRequests::keep_payload(NbdRequest* request, const uint8_t* payload) {
  if (payload == nullptr || request->payload.memory) return;
  own_buffer(request);
  memcpy(request->payload.data(), payload, request->wire.length);
}

NbdRequest* NbdRequests::expect_payload(const Request& wire) {
  NbdRequest* request = take(wire);
  own_buffer(request);
  return request;
}

void NbdRequests::begin(NbdRequest* request) { write(request, request->payload.data(), false); }

void NbdRequests::begin(const Request& wire, const uint8_t* payload, bool alone) {
  alone = alone && used_ == 0;
  switch (wire.command) {
    case kCmdRead: return read(wire, alone);
    case kCmdBlockStatus: return block_status(wire);
    case kCmdFlush: tap_.count_flush(); return submit(take(wire));
    case kCmdCache: return submit(take(wire));
    default: return write(take(wire), payload, alone);
  }
}

void NbdRequests::submit(NbdRequest* request) {
  if (!queue_) queue_ = make_io_queue(origin_, depth_);
  queued_++;
  queue_->submit(request);
}

void NbdRequests::reap() {
  if (queued_ == 0) return;
  while (IoRequest* done = queue_->reap()) {
    queued_--;
    complete(static_cast<NbdRequest*>(done));
  }
}

void NbdRequests::complete(NbdRequest* request) {
  const Request& wire = request->wire;
  if (request->admitted) {
    tap_.finished(request->ticket, wire.offset, wire.length);
    request->admitted = false;
  }
  if (!request->status.ok()) return fail(request, error_of(request->status));
  if (wire.command == kCmdRead) {
    answer_read(request);
  } else {
    replies_.success(wire);
  }
  release(request);
}

void NbdRequests::fail(NbdRequest* request, Error error) {
  replies_.error(request->wire, error);
  release(request);
}

}  // namespace blockferry
