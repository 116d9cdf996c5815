// The requests of one connection in transmission: checked, passed through the tap's gate, done at
// once where that needs no waiting, else in the I/O queue, and answered.
//
// Done on the connection's own thread: whole pages written to the page cache (a memory copy),
// reads of what is in memory, and direct I/O while nothing else is under way. Everything else is
// queued, so that it stalls nobody. Belongs to one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "disk/io_queue.h"
#include "nbd/buffers.h"
#include "nbd/handshake.h"
#include "nbd/protocol.h"
#include "nbd/replies.h"
#include "tap/tap.h"

namespace blockferry {

// A request under way. `io` is what the queue sees of it.
struct NbdRequest : IoRequest {
  nbd::Request wire;
  Tap::Ticket ticket;
  NbdBuffer payload;      // what is to be written, or was read
  bool admitted = false;  // through the gate: the tap must be told of its end
};

class NbdRequests {
 public:
  // The tap outlives this.
  NbdRequests(Tap& tap, const NbdSession& session, unsigned depth, NbdBufferPool& pool,
              NbdReplies& replies);
  // Waits for what is in the queue; what the gate holds is dropped.
  ~NbdRequests();
  NbdRequests(const NbdRequests&) = delete;
  NbdRequests& operator=(const NbdRequests&) = delete;

  // Why the request can't be done, or kOk.
  nbd::Error check(const nbd::Request& wire) const;

  // Room for one more? Without it the connection must not read further.
  bool has_room() const {
    return used_ < depth_ && payload_bytes_ + replies_.bytes() < kMaxPending;
  }
  // A checked request that is to begin, in two ways. With its payload somewhere in memory (or
  // none): begin() uses it before it returns. `alone` says that no other request is at hand.
  void begin(const nbd::Request& wire, const uint8_t* payload, bool alone);
  // Or with a payload that is still to be received, into payload.data() of what this answers.
  NbdRequest* expect_payload(const nbd::Request& wire);
  void begin(NbdRequest* request);
  // The payload will not come.
  void forget(NbdRequest* request) { release(request); }

  // Answers what the queue has finished.
  void reap();
  // Asks the gate again for the writes that it holds.
  void retry_held();
  // When to do so if nobody calls before; nothing when only a wake() helps.
  std::optional<Clock::time_point> retry_at() const { return retry_at_; }
  bool holds() const { return !held_.empty(); }
  // Ends the held writes: answered with the error, or without an answer.
  void end_held(std::optional<nbd::Error> answer);

  // Something is queued or held.
  bool busy() const { return queued_ > 0 || holds(); }
  unsigned queued() const { return queued_; }
  // Readable when reap() may find something; -1 while nothing was ever queued.
  int wait_fd() const { return queue_ ? queue_->wait_fd() : -1; }

 private:
  static constexpr uint64_t kMaxPending = 32u << 20;  // bytes; below it one more may begin
  // Direct I/O or an odd write up to this size is waited for when nothing else is under way.
  static constexpr uint64_t kShortTransfer = 128 << 10;

  NbdRequest* take(const nbd::Request& wire);
  void release(NbdRequest* request);
  void own_buffer(NbdRequest* request);
  void keep_payload(NbdRequest* request, const uint8_t* payload);
  void submit(NbdRequest* request);
  void complete(NbdRequest* request);
  void fail(NbdRequest* request, nbd::Error error);

  // writes.cc
  void write(NbdRequest* request, const uint8_t* payload, bool alone);
  Admission::Answer ask_gate(NbdRequest* request);
  void hold(NbdRequest* request, const uint8_t* payload);
  void run_write(NbdRequest* request, const uint8_t* payload, bool alone);
  bool writes_at_once(const NbdRequest& request, bool alone) const;

  // reads.cc
  void read(const nbd::Request& wire, bool alone);
  bool read_small(const nbd::Request& wire);
  void answer_read(NbdRequest* request);
  void block_status(const nbd::Request& wire);

  Tap& tap_;
  Origin& origin_;
  const NbdSession session_;
  const unsigned depth_;
  NbdBufferPool& pool_;
  NbdReplies& replies_;
  std::vector<std::unique_ptr<NbdRequest>> slots_;
  std::vector<NbdRequest*> free_;
  unsigned used_ = 0;
  unsigned queued_ = 0;
  uint64_t payload_bytes_ = 0;
  std::deque<NbdRequest*> held_;  // in the order of their arrival
  std::optional<Clock::time_point> retry_at_;
  std::unique_ptr<IoQueue> queue_;  // made when first needed
};

}  // namespace blockferry
