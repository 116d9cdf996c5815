#include "nbd/connection.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <exception>
#include <utility>

#include "nbd/transmission.h"

namespace blockferry {

namespace {

constexpr size_t kMostUnread = 64 << 20;

// Told by the tap for as long as it lives.
class WakerRegistration {
 public:
  WakerRegistration(Tap& tap, Waker* waker) : tap_(tap), waker_(waker) { tap_.add_waker(waker_); }
  ~WakerRegistration() { tap_.remove_waker(waker_); }

 private:
  Tap& tap_;
  Waker* waker_;
};

}  // namespace

NbdConnection::NbdConnection(FileDescriptor socket, NbdConnectionHost& host,
                             const NbdServerOptions& options)
    : socket_(std::move(socket)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      host_(host),
      options_(options) {}

void NbdConnection::run() {
  try {
    if (event_.open()) serve();
  } catch (const std::exception&) {
    // No memory or no thread for this client: it is cut off, the others go on.
  }
  hang_up();
}

void NbdConnection::serve() {
  auto deadline = Clock::now() + std::chrono::milliseconds(options_.handshake_timeout_ms);
  NbdSession session;
  HandshakeEnd end = NbdHandshake(socket_.get(), host_, deadline, chosen_).run(&session);
  bool broken = end == HandshakeEnd::broken;
  if (end == HandshakeEnd::transmission) {
    auto tap = host_.attach(this, session.entry);
    broken = tap && !transmit(*tap, session);
  }
  if (broken) host_.count_protocol_error();
}

bool NbdConnection::transmit(Tap& tap, const NbdSession& session) {
  WakerRegistration registration(tap, this);
  if (tap.origin().size() != session.entry.size) return true;  // from here on it stays what it is
  NbdTransmission transmission(socket_.get(), event_.get(), stop_, tap, session,
                               options_.queue_depth);
  return transmission.run();
}

// Input that nobody read would make close() cut off replies which the client has not read yet.
void NbdConnection::hang_up() {
  shutdown(socket_.get(), SHUT_RDWR);
  char unread[4096];
  for (size_t total = 0; total < kMostUnread;) {
    ssize_t got = recv(socket_.get(), unread, sizeof unread, MSG_DONTWAIT);
    if (got <= 0) break;
    total += static_cast<size_t>(got);
  }
}

void NbdConnection::stop() {
  stop_.store(true);
  shutdown(socket_.get(), SHUT_RD);
  wake();
}

void NbdConnection::wake() { eventfd_write(event_.get(), 1); }

}  // namespace blockferry
