// One connection of a migration: TCP, or TLS over it. What sends and receives frames does not
// know which.
#pragma once

#include <memory>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"
#include "net/tcp.h"
#include "net/tls_session.h"

namespace blockferry {

class Socket {
 public:
  explicit Socket(FileDescriptor fd);
  ~Socket();

  // Speaks TLS from here on; before anything else is sent or received. The whole handshake must be
  // over by the deadline. When it fails nothing can be sent any more, unless for Code::tls: then a
  // peer without TLS can be told so. See TlsSession::shake_hands().
  Status secure(std::unique_ptr<TlsSession> session, Deadline deadline);
  // Whom TLS has shown the peer to be (TlsSession::peer()); empty without TLS.
  const std::string& peer() const { return peer_; }

  // See same_user.h.
  Status check_same_user() const;

  // Sends everything. `parts` is changed. One thread at a time.
  Status send(iovec* parts, size_t count);
  // The same without waiting; what does not fit ends the connection (Code::timeout).
  Status send_at_once(const void* bytes, size_t length);
  // See receive_some(). One thread at a time, which may be another than the sender's.
  Status receive(void* buffer, size_t length, Deadline deadline, size_t* got);

  // Ends both directions, from any thread: who waits for the socket returns.
  void shut_down();
  // The same without TLS's goodbye: may be called while secure() goes on.
  void cut();
  SocketProgress progress() const { return socket_progress(fd_.get()); }

 private:
  FileDescriptor fd_;
  std::unique_ptr<TlsSession> tls_;
  std::string peer_;
  bool mute_ = false;  // a handshake failed: no plain text behind it
};

}  // namespace blockferry
