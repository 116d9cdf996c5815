// What a side of a migration shows and what it demands: a pre-shared key, or a certificate and who
// may have signed the peer's. Read once, from files; shared by all connections.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "net/psk_file.h"

struct gnutls_certificate_credentials_st;
struct gnutls_psk_client_credentials_st;
struct gnutls_psk_server_credentials_st;
struct gnutls_priority_st;

namespace blockferry {

// Paths. Either the key file or the three others.
struct TlsFiles {
  std::string psk_key_file;          // psk_file.h
  std::string psk_identity;          // ours, and the only one welcome; empty: see load()
  bool connects = false;             // for a side that connects, not for one that listens
  std::string certificate, key, ca;  // PEM: ours (with its chain), its key, whom we trust
  std::vector<std::string> peers;    // a receiver: the names that a client's certificate may have,
                                     // any without one; a source: what the destination's must
                                     // have one of, instead of the host's name
};

class TlsCredentials {
 public:
  ~TlsCredentials();
  TlsCredentials(const TlsCredentials&) = delete;
  TlsCredentials& operator=(const TlsCredentials&) = delete;

  // Code::unsupported in a build without GnuTLS; not_found, no_permission and the like for files
  // (no_permission also for a key that others may read); invalid for what is in them. Without an
  // identity who listens welcomes every one in the key file, and who connects needs a file with one.
  static Status load(const TlsFiles& files, std::shared_ptr<const TlsCredentials>* credentials);
  // Whether this build has TLS.
  static bool supported();

  bool has_psk() const { return psk_server_ != nullptr; }
  const std::vector<std::string>& peers() const { return peers_; }
  // The key of an identity that is welcome here, in hexadecimal; null for any other.
  const std::string* key_of(const std::string& identity) const;

 private:
  friend class TlsSession;
  TlsCredentials() = default;
  Status load_psk(const TlsFiles& files);
  Status load_certificates(const TlsFiles& files);

  PskKeys keys_;
  std::vector<std::string> peers_;
  gnutls_priority_st* priority_ = nullptr;
  gnutls_psk_server_credentials_st* psk_server_ = nullptr;
  gnutls_psk_client_credentials_st* psk_client_ = nullptr;  // null: it has no identity of its own
  gnutls_certificate_credentials_st* certificates_ = nullptr;
};

}  // namespace blockferry
