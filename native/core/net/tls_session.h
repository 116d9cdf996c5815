// TLS 1.3 over a connected socket, through GnuTLS, both sides authenticated.
//
// A session may be used by one sending and one receiving thread. GnuTLS leaves open what happens
// when keys are updated meanwhile, so every call into it is made under a lock, and none of them
// waits: it encrypts into a buffer and decrypts out of another, and what waits for the socket
// does so without the lock. That also makes one system call of many records.
//
//   send:     plain text → (lock) record → outgoing_ → socket
//   receive:  socket → incoming_ → (lock) record → plain text
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "net/tcp.h"
#include "net/tls_certificate.h"
#include "net/tls_credentials.h"

struct gnutls_session_int;

namespace blockferry {

class TlsSession {
 public:
  enum class Side { client, server };

  // `host`: a client's destination, whose name the certificate must bear unless the credentials
  // name others.
  TlsSession(std::shared_ptr<const TlsCredentials> credentials, Side side, std::string host);
  ~TlsSession();

  // Before anything else. Fails with Code::tls (the peer speaks something else; a server has not
  // said anything then), unauthorized (wrong key, certificate or name, seen here or by the peer),
  // version (no TLS 1.3), timeout, peer_gone, protocol, checksum (it was tampered with).
  Status shake_hands(int fd, Deadline deadline);
  // After that: who the peer is, the identity of the pre-shared key or the fingerprint of its
  // certificate.
  const std::string& peer() const { return peer_; }

  // As in Socket. Code::checksum when what was received is not what was sent; the end of the
  // connection is Code::peer_gone, with TLS's goodbye and without.
  Status send(iovec* parts, size_t count);
  Status send_at_once(const void* bytes, size_t length);
  Status receive(void* buffer, size_t length, Deadline deadline, size_t* got);
  // Tells the peer that this is the end, if that can be done at once. From any thread.
  void say_goodbye();

  const TlsCredentials& credentials() const { return *credentials_; }

 private:
  friend struct TlsCallbacks;

  Status set_up();
  void set_up_credentials();
  Status negotiate(Deadline deadline);
  Status give_up(int code, Deadline deadline);
  Status take_peer();
  Status fill(Deadline deadline);
  Status encrypt(const uint8_t* bytes, size_t length);
  Status encrypt_parts(iovec* parts, size_t count);
  Status flush(Deadline deadline);

  std::shared_ptr<const TlsCredentials> credentials_;
  Side side_;
  std::string host_, peer_;
  int fd_ = -1;
  bool heard_ = false;          // something has come from the peer
  CertificateVerdict verdict_;  // of the peer's

  std::mutex session_mutex_;  // session_, and outgoing_ while GnuTLS writes to it
  gnutls_session_int* session_ = nullptr;
  std::vector<uint8_t> outgoing_;  // encrypted, not sent
  std::mutex send_mutex_;          // one sender at a time, until what it encrypted is sent
  std::vector<uint8_t> sending_, record_;

  std::vector<uint8_t>
      incoming_;  // the receiving thread's alone: from start_ to end_ not decrypted
  size_t start_ = 0, end_ = 0;
  std::atomic<bool> over_{false};  // no goodbye any more: it was said, or makes no sense
};

}  // namespace blockferry
