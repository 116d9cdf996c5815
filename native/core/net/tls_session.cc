#include "net/tls_session.h"

#ifdef BLOCKFERRY_HAVE_GNUTLS
#include <gnutls/gnutls.h>

#include <algorithm>
#include <cstring>

#include "net/tls_errors.h"

namespace blockferry {

namespace {

constexpr size_t kRecord = 16 << 10;    // the most that one TLS record holds
constexpr size_t kFlushAt = 256 << 10;  // encrypted bytes that make a system call worth it
constexpr size_t kIncoming = 256 << 10;
constexpr size_t kHandshakeIncoming = 8 << 10;  // a stranger's share of our memory is small
constexpr size_t kMaxHandshake = 32 << 10;      // one message of it: a chain of certificates
// The first byte of what TLS may begin with: a handshake or an alert.
constexpr uint8_t kHandshakeByte = 22, kAlertByte = 21;

}  // namespace

// What GnuTLS calls.
struct TlsCallbacks {
  static TlsSession& of(void* session) { return *static_cast<TlsSession*>(session); }

  static ssize_t push(void* session, const void* bytes, size_t length) {
    auto* from = static_cast<const uint8_t*>(bytes);
    std::vector<uint8_t>& outgoing = of(session).outgoing_;
    outgoing.insert(outgoing.end(), from, from + length);
    return static_cast<ssize_t>(length);
  }

  static ssize_t pull(void* session, void* buffer, size_t length) {
    TlsSession& self = of(session);
    size_t part = std::min(length, self.end_ - self.start_);
    if (part == 0) {
      gnutls_transport_set_errno(self.session_, EAGAIN);
      return -1;
    }
    memcpy(buffer, self.incoming_.data() + self.start_, part);
    self.start_ += part;
    return static_cast<ssize_t>(part);
  }

  // Whether pull() would give something: GnuTLS must not look at a socket for that.
  static int pull_timeout(void* session, unsigned) {
    return of(session).end_ > of(session).start_ ? 1 : 0;
  }

  static int verify(gnutls_session_t session) {
    TlsSession& self = of(gnutls_session_get_ptr(session));
    bool of_server = self.side_ == TlsSession::Side::client;
    std::vector<std::string> names = self.credentials_->peers();
    if (of_server && names.empty()) names.push_back(self.host_);
    self.verdict_ = judge_certificate(session, of_server, names);
    return self.verdict_.status.ok() ? 0 : -1;
  }
};

TlsSession::TlsSession(std::shared_ptr<const TlsCredentials> credentials, Side side,
                       std::string host)
    : credentials_(std::move(credentials)), side_(side), host_(std::move(host)) {}

TlsSession::~TlsSession() {
  if (session_ != nullptr) gnutls_deinit(session_);
}

Status TlsSession::set_up() {
  unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL;
  flags |= side_ == Side::client ? GNUTLS_CLIENT : GNUTLS_SERVER;
  int code = gnutls_init(&session_, flags);
  if (code < 0) return tls_failure(session_, code, false);
  gnutls_session_set_ptr(session_, this);
  gnutls_transport_set_ptr(session_, this);
  gnutls_transport_set_push_function(session_, TlsCallbacks::push);
  gnutls_transport_set_pull_function(session_, TlsCallbacks::pull);
  gnutls_transport_set_pull_timeout_function(session_, TlsCallbacks::pull_timeout);
  gnutls_handshake_set_timeout(session_, 0);  // ours is the deadline
  gnutls_handshake_set_max_packet_length(session_, kMaxHandshake);
  gnutls_priority_set(session_, credentials_->priority_);
  incoming_.resize(kHandshakeIncoming);
  set_up_credentials();
  return {};
}

void TlsSession::set_up_credentials() {
  bool client = side_ == Side::client;
  if (!credentials_->has_psk()) {
    gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, credentials_->certificates_);
    gnutls_session_set_verify_function(session_, TlsCallbacks::verify);
    if (client) return;
    gnutls_certificate_server_set_request(session_, GNUTLS_CERT_REQUIRE);
    // Strangers need not learn whom we trust, and who has another CA's certificate is to show it.
    gnutls_certificate_send_x509_rdn_sequence(session_, 1);
  } else if (client) {
    gnutls_credentials_set(session_, GNUTLS_CRD_PSK, credentials_->psk_client_);
  } else {
    gnutls_credentials_set(session_, GNUTLS_CRD_PSK, credentials_->psk_server_);
  }
}

Status TlsSession::shake_hands(int fd, Deadline deadline) {
  fd_ = fd;
  Status status = set_up();
  if (status.ok()) status = negotiate(deadline);
  if (status.ok()) status = take_peer();
  if (!status.ok()) return status;
  incoming_.resize(kIncoming);
  outgoing_.reserve(kFlushAt + kRecord + 1024);
  record_.reserve(kRecord);
  return {};
}

Status TlsSession::negotiate(Deadline deadline) {
  for (;;) {
    int code = gnutls_handshake(session_);
    if (code != GNUTLS_E_SUCCESS && gnutls_error_is_fatal(code)) return give_up(code, deadline);
    Status status = flush(deadline);
    if (status.ok() && code == GNUTLS_E_SUCCESS) return {};
    if (status.ok() && code == GNUTLS_E_AGAIN) status = fill(deadline);
    if (!status.ok()) return status;
  }
}

// Whether the peer still hears why makes no difference here.
Status TlsSession::give_up(int code, Deadline deadline) {
  bool psk = credentials_->has_psk();
  int alert = verdict_.status.ok() ? tls_alert_for(code, psk) : verdict_.alert;
  Status status = verdict_.status.ok() ? tls_failure(session_, code, psk) : verdict_.status;
  if (alert >= 0) {
    gnutls_alert_send(session_, GNUTLS_AL_FATAL, static_cast<gnutls_alert_description_t>(alert));
  }
  (void)flush(deadline);
  return status;
}

// The handshake can't succeed in another way than the one that the credentials are for; this is
// the second lock on that door.
Status TlsSession::take_peer() {
  bool psk = credentials_->has_psk();
  auto wanted = psk ? GNUTLS_CRD_PSK : GNUTLS_CRD_CERTIFICATE;
  bool as_agreed = gnutls_protocol_get_version(session_) == GNUTLS_TLS1_3 &&
                   gnutls_auth_get_type(session_) == wanted;
  if (psk && side_ == Side::server) {
    const char* identity = gnutls_psk_server_get_username(session_);
    if (identity != nullptr) peer_ = identity;
    as_agreed = as_agreed && credentials_->key_of(peer_) != nullptr;
  }
  if (psk && side_ == Side::client) peer_ = credentials_->keys_.begin()->first;
  if (!psk) peer_ = certificate_fingerprint(session_);
  if (as_agreed && !peer_.empty()) return {};
  return Status::failure(Code::unauthorized, "the peer has not shown who it is");
}

// For the receiving thread, when GnuTLS wants to be called again: because it has taken all that
// was there, or because of what it did with it (a key update).
Status TlsSession::fill(Deadline deadline) {
  if (start_ < end_) return {};
  start_ = end_ = 0;
  size_t got = 0;
  Status status = receive_some(fd_, incoming_.data(), incoming_.size(), deadline, &got);
  if (status.code == Code::peer_gone && status.error == 0) {
    return Status::failure(Code::peer_gone, "the connection was cut off, without TLS's goodbye");
  }
  if (!status.ok()) return status;
  if (!heard_ && incoming_[0] != kHandshakeByte && incoming_[0] != kAlertByte) {
    return Status::failure(Code::tls, "the peer does not speak TLS: it was started without keys");
  }
  heard_ = true;
  end_ = got;
  return {};
}

Status TlsSession::receive(void* buffer, size_t length, Deadline deadline, size_t* got) {
  for (;;) {
    ssize_t count;
    {
      std::lock_guard lock(session_mutex_);
      count = gnutls_record_recv(session_, buffer, length);
      if (count < 0 && gnutls_error_is_fatal(static_cast<int>(count))) {
        over_ = true;
        return tls_failure(session_, static_cast<int>(count), credentials_->has_psk());
      }
    }
    if (count == 0) return Status::failure(Code::peer_gone, "the peer closed the connection");
    if (count > 0) {
      *got = static_cast<size_t>(count);
      return {};
    }
    Status status = count == GNUTLS_E_AGAIN ? fill(deadline) : Status{};
    if (!status.ok()) return status;
  }
}

Status TlsSession::encrypt(const uint8_t* bytes, size_t length) {
  std::lock_guard lock(session_mutex_);
  while (length > 0) {
    ssize_t count = gnutls_record_send(session_, bytes, length);
    if (count == GNUTLS_E_AGAIN || count == GNUTLS_E_INTERRUPTED) continue;
    if (count < 0) return tls_failure(session_, static_cast<int>(count), credentials_->has_psk());
    bytes += count;
    length -= static_cast<size_t>(count);
  }
  return {};
}

// In whole records, whatever the parts are: what is large goes from its place, the rest by way of
// record_.
Status TlsSession::encrypt_parts(iovec* parts, size_t count) {
  Status status;
  for (size_t i = 0; i < count && status.ok(); i++) {
    auto* at = static_cast<const uint8_t*>(parts[i].iov_base);
    size_t left = parts[i].iov_len;
    while (left > 0 && status.ok()) {
      size_t part = std::min(left, kRecord - record_.size());
      if (part == kRecord) {
        status = encrypt(at, part);
      } else {
        record_.insert(record_.end(), at, at + part);
        if (record_.size() == kRecord) {
          status = encrypt(record_.data(), record_.size());
          record_.clear();
        }
      }
      at += part;
      left -= part;
      if (status.ok() && outgoing_.size() >= kFlushAt) status = flush(kNoDeadline);
    }
  }
  if (status.ok() && !record_.empty()) status = encrypt(record_.data(), record_.size());
  record_.clear();
  return status;
}

Status TlsSession::flush(Deadline deadline) {
  {
    std::lock_guard lock(session_mutex_);
    sending_.swap(outgoing_);
  }
  iovec part{sending_.data(), sending_.size()};
  Status status = sending_.empty() ? Status{} : send_all(fd_, &part, 1, deadline);
  sending_.clear();
  return status;
}

Status TlsSession::send(iovec* parts, size_t count) {
  std::lock_guard lock(send_mutex_);
  Status status = encrypt_parts(parts, count);
  return status.ok() ? flush(kNoDeadline) : status;
}

Status TlsSession::send_at_once(const void* bytes, size_t length) {
  std::lock_guard lock(send_mutex_);
  Status status = encrypt(static_cast<const uint8_t*>(bytes), length);
  std::lock_guard session(session_mutex_);
  if (status.ok()) status = blockferry::send_at_once(fd_, outgoing_.data(), outgoing_.size());
  outgoing_.clear();
  return status;
}

// Whoever is in the middle of sending has no room for a goodbye, and a socket that is full hasn't.
void TlsSession::say_goodbye() {
  std::unique_lock sending(send_mutex_, std::try_to_lock);
  if (!sending.owns_lock() || over_.exchange(true)) return;
  std::lock_guard lock(session_mutex_);
  gnutls_bye(session_, GNUTLS_SHUT_WR);
  (void)blockferry::send_at_once(fd_, outgoing_.data(), outgoing_.size());
  outgoing_.clear();
}

}  // namespace blockferry

#else

namespace blockferry {

// There are no credentials without GnuTLS, so no session is ever made.
TlsSession::TlsSession(std::shared_ptr<const TlsCredentials> credentials, Side side,
                       std::string host)
    : credentials_(std::move(credentials)), side_(side), host_(std::move(host)) {}
TlsSession::~TlsSession() = default;
Status TlsSession::shake_hands(int, Deadline) { return Status::failure(Code::unsupported, "tls"); }
Status TlsSession::send(iovec*, size_t) { return Status::failure(Code::unsupported, "tls"); }
Status TlsSession::send_at_once(const void*, size_t) {
  return Status::failure(Code::unsupported, "tls");
}
Status TlsSession::receive(void*, size_t, Deadline, size_t*) {
  return Status::failure(Code::unsupported, "tls");
}
void TlsSession::say_goodbye() {}

}  // namespace blockferry

#endif
