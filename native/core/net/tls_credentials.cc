#include "net/tls_credentials.h"

#include "net/secret_file.h"

#ifdef BLOCKFERRY_HAVE_GNUTLS
#include <gnutls/gnutls.h>

#include "net/tls_session.h"

namespace blockferry {

namespace {

// TLS 1.3 only, always with an ephemeral key exchange. AES-128 comes first: it is the fastest
// where the processor helps, and its hash is that of the pre-shared keys.
constexpr const char* kCiphers =
    "NONE:+VERS-TLS1.3:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:+AEAD:"
    "+SIGN-ALL:-SIGN-RSA-SHA1:-SIGN-ECDSA-SHA1:"
    "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:+CTYPE-X509:%PROFILE_MEDIUM";
constexpr const char* kPskExchange = ":+ECDHE-PSK";
constexpr const char* kCertificateExchange = ":+ECDHE-RSA:+ECDHE-ECDSA";

Status failed(const std::string& what, int code) {
  return Status::failure(code == GNUTLS_E_MEMORY_ERROR ? Code::no_memory : Code::invalid,
                         what + ": " + gnutls_strerror(code));
}

gnutls_datum_t datum(const std::string& text) {
  return {reinterpret_cast<unsigned char*>(const_cast<char*>(text.data())),
          static_cast<unsigned>(text.size())};
}

// GnuTLS asks for the key of a client's identity. 1: there is none; it then goes on with a random
// key, so that a stranger can't tell which identities there are.
int key_for(gnutls_session_t session, const char* identity, gnutls_datum_t* key) {
  const TlsCredentials& credentials =
      static_cast<TlsSession*>(gnutls_session_get_ptr(session))->credentials();
  const std::string* hex = credentials.key_of(identity);
  if (hex == nullptr) return 1;
  gnutls_datum_t encoded = datum(*hex);
  return gnutls_hex_decode2(&encoded, key) < 0 ? -1 : 0;
}

Status read_certificate_files(const TlsFiles& files, std::string* certificate, std::string* key,
                              std::string* ca) {
  Status status = read_text_file("tls.certificate", files.certificate, certificate);
  if (status.ok()) status = read_text_file("tls.ca", files.ca, ca);
  return status.ok() ? read_secret_file("tls.key", files.key, key) : status;
}

}  // namespace

bool TlsCredentials::supported() { return true; }

TlsCredentials::~TlsCredentials() {
  if (psk_server_ != nullptr) gnutls_psk_free_server_credentials(psk_server_);
  if (psk_client_ != nullptr) gnutls_psk_free_client_credentials(psk_client_);
  if (certificates_ != nullptr) gnutls_certificate_free_credentials(certificates_);
  if (priority_ != nullptr) gnutls_priority_deinit(priority_);
  for (auto& [identity, key] : keys_) erase_secret(&key);
}

Status TlsCredentials::load(const TlsFiles& files,
                            std::shared_ptr<const TlsCredentials>* credentials) {
  std::shared_ptr<TlsCredentials> loaded(new TlsCredentials);
  bool psk = !files.psk_key_file.empty();
  std::string priority = std::string(kCiphers) + (psk ? kPskExchange : kCertificateExchange);
  int code = gnutls_priority_init(&loaded->priority_, priority.c_str(), nullptr);
  if (code < 0) return failed("set up TLS 1.3", code);
  Status status = psk ? loaded->load_psk(files) : loaded->load_certificates(files);
  if (status.ok()) *credentials = std::move(loaded);
  return status;
}

Status TlsCredentials::load_psk(const TlsFiles& files) {
  Status status = read_psk_file(files.psk_key_file, &keys_);
  if (!status.ok()) return status;
  if (!files.psk_identity.empty()) {
    std::erase_if(keys_, [&](const auto& entry) { return entry.first != files.psk_identity; });
    if (keys_.empty()) {
      return Status::failure(Code::invalid, "tls.psk.identity: " + files.psk_key_file +
                                                " has no key for " + files.psk_identity);
    }
  }
  if (files.connects && keys_.size() > 1) {
    return Status::failure(
        Code::invalid, "tls.psk.identity: is needed: " + files.psk_key_file + " has several keys");
  }
  gnutls_psk_allocate_server_credentials(&psk_server_);
  gnutls_psk_set_server_credentials_function(psk_server_, key_for);
  if (keys_.size() != 1) return {};
  gnutls_psk_allocate_client_credentials(&psk_client_);
  const auto& [identity, hex] = *keys_.begin();
  gnutls_datum_t key = datum(hex);
  int code =
      gnutls_psk_set_client_credentials(psk_client_, identity.c_str(), &key, GNUTLS_PSK_KEY_HEX);
  return code < 0 ? failed("tls.psk.keyFile", code) : Status{};
}

Status TlsCredentials::load_certificates(const TlsFiles& files) {
  std::string certificate, key, ca;
  Status status = read_certificate_files(files, &certificate, &key, &ca);
  if (!status.ok()) return status;
  peers_ = files.peers;
  gnutls_certificate_allocate_credentials(&certificates_);
  gnutls_datum_t certificate_pem = datum(certificate), key_pem = datum(key), ca_pem = datum(ca);
  int code = gnutls_certificate_set_x509_key_mem2(certificates_, &certificate_pem, &key_pem,
                                                  GNUTLS_X509_FMT_PEM, nullptr, 0);
  erase_secret(&key);
  if (code < 0) {
    return failed("tls.certificate and tls.key: " + files.certificate + " and " + files.key, code);
  }
  code = gnutls_certificate_set_x509_trust_mem(certificates_, &ca_pem, GNUTLS_X509_FMT_PEM);
  if (code <= 0) {
    return failed("tls.ca: " + files.ca, code == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : code);
  }
  return {};
}

const std::string* TlsCredentials::key_of(const std::string& identity) const {
  auto found = keys_.find(identity);
  return found == keys_.end() ? nullptr : &found->second;
}

}  // namespace blockferry

#else

namespace blockferry {

bool TlsCredentials::supported() { return false; }
TlsCredentials::~TlsCredentials() = default;

Status TlsCredentials::load(const TlsFiles&, std::shared_ptr<const TlsCredentials>*) {
  return Status::failure(Code::unsupported,
                         "tls: this build has no TLS: install libgnutls28-dev and build it again");
}

const std::string* TlsCredentials::key_of(const std::string&) const { return nullptr; }

}  // namespace blockferry

#endif
