// The write-like requests of a connection, and the gate before them.
#include <utility>

#include "nbd/requests.h"

namespace blockferry {

using namespace nbd;

namespace {

constexpr uint64_t kPage = 4096;

}  // namespace

// Held writes keep their order: none passes another.
void NbdRequests::write(NbdRequest* request, const uint8_t* payload, bool alone) {
  if (!held_.empty()) {
    request->ticket.wait_behind(held_.front()->ticket);
    return hold(request, payload);
  }
  switch (ask_gate(request)) {
    case Admission::Answer::go: return run_write(request, payload, alone);
    case Admission::Answer::later: return hold(request, payload);
    case Admission::Answer::refused: return fail(request, kEperm);
  }
}

Admission::Answer NbdRequests::ask_gate(NbdRequest* request) {
  const Request& wire = request->wire;
  Admission admission = tap_.admit(request->ticket, wire.offset, wire.length);
  request->admitted = admission.answer == Admission::Answer::go;
  retry_at_.reset();
  if (admission.wait > Clock::duration::zero()) retry_at_ = Clock::now() + admission.wait;
  return admission.answer;
}

void NbdRequests::hold(NbdRequest* request, const uint8_t* payload) {
  keep_payload(request, payload);
  held_.push_back(request);
}

void NbdRequests::retry_held() {
  while (!held_.empty()) {
    NbdRequest* request = held_.front();
    Admission::Answer answer = ask_gate(request);
    if (answer == Admission::Answer::later) return;
    held_.pop_front();
    if (answer == Admission::Answer::refused) {
      fail(request, kEperm);
    } else {
      run_write(request, request->payload.data(), false);
    }
  }
}

void NbdRequests::end_held(std::optional<Error> answer) {
  retry_at_.reset();
  for (NbdRequest* request : std::exchange(held_, {})) {
    if (answer) replies_.error(request->wire, *answer);
    release(request);
  }
}

void NbdRequests::run_write(NbdRequest* request, const uint8_t* payload, bool alone) {
  bool at_once = writes_at_once(*request, alone);
  if (at_once && origin_.alignment() == 1) {
    request->buffer = const_cast<uint8_t*>(payload);
  } else {
    keep_payload(request, payload);
  }
  if (!at_once) return submit(request);
  perform(origin_, request);
  complete(request);
}

// Whole pages into the page cache: a copy in memory. A part of a page may have to be read first.
bool NbdRequests::writes_at_once(const NbdRequest& request, bool alone) const {
  if (request.kind != IoKind::write || request.durable) return false;
  if (alone && request.length <= kShortTransfer) return true;
  return origin_.alignment() == 1 && (request.offset | request.length) % kPage == 0;
}

}  // namespace blockferry
