#ifdef BLOCKFERRY_HAVE_GNUTLS
#include "net/tls_errors.h"

#include <gnutls/gnutls.h>

#include <string>

namespace blockferry {

namespace {

constexpr const char* kOtherKind =
    "the two sides have no common kind of key: one may have a pre-shared key, the other a "
    "certificate";

Status unauthorized(const std::string& why) { return Status::failure(Code::unauthorized, why); }

Status alert_failure(gnutls_alert_description_t alert, bool psk) {
  const char* name = gnutls_alert_get_name(alert);
  std::string words = name == nullptr ? "alert " + std::to_string(alert) : name;
  switch (alert) {
    case GNUTLS_A_BAD_CERTIFICATE:
    case GNUTLS_A_UNSUPPORTED_CERTIFICATE:
    case GNUTLS_A_CERTIFICATE_REVOKED:
    case GNUTLS_A_CERTIFICATE_EXPIRED:
    case GNUTLS_A_CERTIFICATE_UNKNOWN:
    case GNUTLS_A_UNKNOWN_CA:
      return unauthorized("the peer does not accept our certificate: " + words);
    case GNUTLS_A_CERTIFICATE_REQUIRED: return unauthorized("the peer wants a certificate");
    case GNUTLS_A_ACCESS_DENIED:
      return unauthorized("the peer does not accept the name in our certificate");
    case GNUTLS_A_ILLEGAL_PARAMETER:
    case GNUTLS_A_DECRYPT_ERROR:
    case GNUTLS_A_UNKNOWN_PSK_IDENTITY:
      if (psk) return unauthorized("the peer does not accept our pre-shared key or its identity");
      break;
    case GNUTLS_A_HANDSHAKE_FAILURE:
    case GNUTLS_A_INSUFFICIENT_SECURITY:
    case GNUTLS_A_MISSING_EXTENSION: return unauthorized(kOtherKind);
    case GNUTLS_A_PROTOCOL_VERSION:
      return Status::failure(Code::version, "the peer does not speak TLS 1.3");
    case GNUTLS_A_BAD_RECORD_MAC:
    case GNUTLS_A_DECRYPTION_FAILED:
      return Status::failure(Code::checksum, "the peer could not decrypt what was sent");
    default: break;
  }
  return Status::failure(Code::protocol, "the peer ended TLS: " + words);
}

}  // namespace

Status tls_failure(gnutls_session_int* session, int code, bool psk) {
  switch (code) {
    case GNUTLS_E_FATAL_ALERT_RECEIVED: return alert_failure(gnutls_alert_get(session), psk);
    case GNUTLS_E_UNSUPPORTED_VERSION_PACKET:
      return Status::failure(Code::version, "the peer does not speak TLS 1.3");
    case GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER:
      if (psk) return unauthorized("the peer has another pre-shared key or identity");
      break;
    case GNUTLS_E_NO_CERTIFICATE_FOUND:
    case GNUTLS_E_CERTIFICATE_REQUIRED: return unauthorized("the peer has shown no certificate");
    case GNUTLS_E_NO_CIPHER_SUITES:
    case GNUTLS_E_INSUFFICIENT_CREDENTIALS:
    case GNUTLS_E_UNKNOWN_CIPHER_SUITE:
    case GNUTLS_E_MISSING_EXTENSION:
    case GNUTLS_E_NO_COMMON_KEY_SHARE: return unauthorized(kOtherKind);
    case GNUTLS_E_DECRYPTION_FAILED:
      return Status::failure(Code::checksum,
                             "what came over TLS was damaged or tampered with on its way");
    case GNUTLS_E_MEMORY_ERROR: return Status::failure(Code::no_memory, gnutls_strerror(code));
    default: break;
  }
  return Status::failure(Code::protocol, std::string("TLS: ") + gnutls_strerror(code));
}

int tls_alert_for(int code, bool psk) {
  if (code == GNUTLS_E_FATAL_ALERT_RECEIVED) return -1;
  if (psk && code == GNUTLS_E_RECEIVED_ILLEGAL_PARAMETER) return GNUTLS_A_DECRYPT_ERROR;
  if (code == GNUTLS_E_NO_CERTIFICATE_FOUND) return GNUTLS_A_CERTIFICATE_REQUIRED;
  int level = 0;
  return gnutls_error_to_alert(code, &level);
}

}  // namespace blockferry

#endif
