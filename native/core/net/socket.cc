#include "net/socket.h"

#include <sys/socket.h>

#include "net/same_user.h"

namespace blockferry {

Socket::Socket(FileDescriptor fd) : fd_(std::move(fd)) {}

Socket::~Socket() = default;

Status Socket::secure(std::unique_ptr<TlsSession> session, Deadline deadline) {
  Status status = session->shake_hands(fd_.get(), deadline);
  if (!status.ok()) {
    mute_ = status.code != Code::tls;
    return status;
  }
  peer_ = session->peer();
  tls_ = std::move(session);
  return {};
}

Status Socket::check_same_user() const { return blockferry::check_same_user(fd_.get()); }

Status Socket::send(iovec* parts, size_t count) {
  if (mute_) return Status::failure(Code::closed, "send after a handshake that failed");
  return tls_ ? tls_->send(parts, count) : send_all(fd_.get(), parts, count);
}

Status Socket::send_at_once(const void* bytes, size_t length) {
  return tls_ ? tls_->send_at_once(bytes, length)
              : blockferry::send_at_once(fd_.get(), bytes, length);
}

Status Socket::receive(void* buffer, size_t length, Deadline deadline, size_t* got) {
  return tls_ ? tls_->receive(buffer, length, deadline, got)
              : receive_some(fd_.get(), buffer, length, deadline, got);
}

void Socket::shut_down() {
  if (tls_) tls_->say_goodbye();
  cut();
}

void Socket::cut() { shutdown(fd_.get(), SHUT_RDWR); }

}  // namespace blockferry
