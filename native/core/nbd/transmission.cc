#include "nbd/transmission.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace blockferry {

using namespace nbd;

namespace {

constexpr size_t kSendEarly = 512 << 10;  // replies aren't gathered beyond this
constexpr auto kLinger = std::chrono::seconds(1);

}  // namespace

bool NbdTransmission::run() {
  while (!finished()) {
    if (stop_.load()) end(Ending::stopped);
    take_requests();
    requests_.reap();
    if (requests_.holds()) retry_held();
    if (!replies_.send(socket_)) peer_gone();
    if (stalled_ && requests_.has_room()) continue;
    if (!finished()) wait();
  }
  return !broke_protocol_;
}

bool NbdTransmission::finished() const {
  switch (ending_) {
    case Ending::none: return false;
    case Ending::disconnect: return !requests_.busy() && replies_.empty();
    case Ending::broken:
    case Ending::stopped:
      return requests_.queued() == 0 && (replies_.empty() || Clock::now() >= linger_until_);
    case Ending::gone: return requests_.queued() == 0;
  }
  return true;
}

void NbdTransmission::end(Ending ending) {
  if (ending <= ending_) return;
  ending_ = ending;
  linger_until_ = Clock::now() + kLinger;
  stalled_ = false;
  if (incoming_ != nullptr) requests_.forget(std::exchange(incoming_, nullptr));
  if (ending == Ending::stopped) requests_.end_held(kEshutdown);
  if (ending == Ending::broken || ending == Ending::gone) requests_.end_held(std::nullopt);
}

void NbdTransmission::break_off() {
  broke_protocol_ = true;
  end(Ending::broken);
}

// All whole requests have been taken. Whatever is left was cut off in the middle.
void NbdTransmission::peer_gone() {
  bool has_rest = input_.size() > 0 && !stalled_;
  if (ending_ == Ending::none && (incoming_ != nullptr || skip_ > 0 || has_rest)) {
    broke_protocol_ = true;
  }
  end(Ending::gone);
}

void NbdTransmission::take_requests() {
  taken_ = 0;
  while (ending_ == Ending::none && take_payload() && take_request()) {
    taken_++;
    if (replies_.bytes() >= kSendEarly && !replies_.send(socket_)) end(Ending::gone);
  }
}

// Takes the rest of a large or unwanted payload. False while more of it is to come.
bool NbdTransmission::take_payload() {
  size_t skipped = std::min<uint64_t>(skip_, input_.size());
  input_.take(skipped);
  skip_ -= skipped;
  if (incoming_ == nullptr) return skip_ == 0;
  uint8_t* at = incoming_->payload.data() + incoming_filled_;
  incoming_filled_ += input_.take_into(at, incoming_->wire.length - incoming_filled_);
  if (incoming_filled_ < incoming_->wire.length) return false;
  requests_.begin(std::exchange(incoming_, nullptr));
  return true;
}

// False when it takes more input, or room, to go on.
bool NbdTransmission::take_request() {
  if (input_.size() < kRequestSize) return false;
  stalled_ = !requests_.has_room();
  if (stalled_) return false;
  Request wire = get_request(input_.data());
  if (wire.magic != kRequestMagic) {
    break_off();
    return false;
  }
  if (wire.command == kCmdWrite) return take_write(wire);
  input_.take(kRequestSize);
  if (wire.command == kCmdDisconnect) {
    end(Ending::disconnect);
    return false;
  }
  Error error = requests_.check(wire);
  if (error == kOk) {
    requests_.begin(wire, nullptr, input_.size() == 0);
  } else {
    replies_.error(wire, error);
  }
  return true;
}

bool NbdTransmission::take_write(const Request& wire) {
  if (wire.length > kMaxPayload) {
    break_off();
    return false;
  }
  Error error = requests_.check(wire);
  if (error != kOk) {
    input_.take(kRequestSize);
    replies_.error(wire, error);
    skip_ = wire.length;
    return true;
  }
  if (wire.length > NbdInput::kLargestInside) {
    input_.take(kRequestSize);
    incoming_ = requests_.expect_payload(wire);
    incoming_filled_ = 0;
    return true;
  }
  size_t whole = kRequestSize + wire.length;
  if (input_.size() < whole) return false;
  requests_.begin(wire, input_.data() + kRequestSize, input_.size() == whole);
  input_.take(whole);
  return true;
}

void NbdTransmission::wait() {
  bool wants_input = ending_ == Ending::none && !stalled_;
  bool may_sleep = !requests_.busy() && replies_.empty();
  if (wants_input && receive(may_sleep)) return;
  sleep(wants_input);
}

// False when there is nothing to receive now.
bool NbdTransmission::receive(bool may_sleep) {
  size_t length;
  uint8_t* at;
  int flags = may_sleep ? 0 : MSG_DONTWAIT;
  if (incoming_ != nullptr) {
    at = incoming_->payload.data() + incoming_filled_;
    length = incoming_->wire.length - incoming_filled_;
    if (may_sleep) flags = MSG_WAITALL;
  } else {
    at = input_.room(&length);
  }
  // A client with several requests under way has more to say once it has our answers: letting
  // it run first spares both sides a wake-up, and the next gulp is larger.
  if (may_sleep && taken_ > 1) sched_yield();
  ssize_t got = recv(socket_, at, length, flags);
  if (got < 0 && errno == EINTR) return true;
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  if (got <= 0) {
    stop_.load() ? end(Ending::stopped) : peer_gone();
  } else if (incoming_ != nullptr) {
    incoming_filled_ += static_cast<size_t>(got);
  } else {
    input_.received(static_cast<size_t>(got));
  }
  return true;
}

// False when only an event can wake us.
bool NbdTransmission::time_to_wake(timespec* left) const {
  auto until = Clock::time_point::max();
  if (auto retry = requests_.retry_at()) until = *retry;
  if (ending_ == Ending::broken || ending_ == Ending::stopped) {
    until = std::min(until, linger_until_);
  }
  if (until == Clock::time_point::max()) return false;
  auto nanoseconds = std::max<int64_t>(0, std::chrono::nanoseconds(until - Clock::now()).count());
  *left = {static_cast<time_t>(nanoseconds / 1'000'000'000),
           static_cast<long>(nanoseconds % 1'000'000'000)};
  return true;
}

void NbdTransmission::sleep(bool wants_input) {
  short wanted = 0;
  if (wants_input) wanted |= POLLIN;
  if (!replies_.empty()) wanted |= POLLOUT;
  // A client that hung up must not have its held writes done some time later.
  if (requests_.holds() && !stop_.load()) wanted |= POLLRDHUP;
  pollfd entries[] = {{socket_, wanted, 0},
                      {event_, POLLIN, 0},
                      {requests_.queued() > 0 ? requests_.wait_fd() : -1, POLLIN, 0}};
  timespec left;
  ppoll(entries, std::size(entries), time_to_wake(&left) ? &left : nullptr, nullptr);
  // While there is input to take, its end is found by receiving it.
  bool hung_up = (entries[0].revents & (POLLERR | POLLHUP | POLLNVAL | POLLRDHUP)) != 0;
  if (hung_up && !wants_input) end(Ending::gone);
  if (entries[1].revents != 0 && !requests_.holds()) was_woken();
}

// Whether the event was signalled; it no longer is.
bool NbdTransmission::was_woken() {
  eventfd_t ignored;
  return eventfd_read(event_, &ignored) == 0;
}

// Not left to the times when there is nothing to receive: a busy reader would starve its writes.
void NbdTransmission::retry_held() {
  auto at = requests_.retry_at();
  if (was_woken() || (at && Clock::now() >= *at)) requests_.retry_held();
}

}  // namespace blockferry
