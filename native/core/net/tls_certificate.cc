#ifdef BLOCKFERRY_HAVE_GNUTLS
#include "net/tls_certificate.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include <memory>

#include "base/hex.h"

namespace blockferry {

namespace {

struct Reason {
  unsigned flag;
  gnutls_alert_description_t alert;
  const char* words;
};

// The first that fits is told: an expired certificate of somebody unknown is of somebody unknown.
constexpr Reason kReasons[] = {
    {GNUTLS_CERT_SIGNER_NOT_FOUND, GNUTLS_A_UNKNOWN_CA, "is not signed by the CA that we trust"},
    {GNUTLS_CERT_SIGNER_NOT_CA, GNUTLS_A_UNKNOWN_CA, "is signed by what is no CA"},
    {GNUTLS_CERT_EXPIRED, GNUTLS_A_CERTIFICATE_EXPIRED, "has expired"},
    {GNUTLS_CERT_NOT_ACTIVATED, GNUTLS_A_BAD_CERTIFICATE, "is not valid yet"},
    {GNUTLS_CERT_REVOKED, GNUTLS_A_CERTIFICATE_REVOKED, "was revoked"},
    {GNUTLS_CERT_PURPOSE_MISMATCH, GNUTLS_A_UNSUPPORTED_CERTIFICATE,
     "is not meant for this side (its extended key usage)"},
    {GNUTLS_CERT_INSECURE_ALGORITHM, GNUTLS_A_BAD_CERTIFICATE,
     "uses an algorithm that is not secure"},
};

CertificateVerdict refused(gnutls_alert_description_t alert, const std::string& why) {
  return {Status::failure(Code::unauthorized, "the peer's certificate " + why), alert};
}

CertificateVerdict refused(unsigned flags) {
  for (const Reason& reason : kReasons) {
    if (flags & reason.flag) return refused(reason.alert, reason.words);
  }
  return refused(GNUTLS_A_BAD_CERTIFICATE, "is not valid");
}

struct FreeCertificate {
  void operator()(gnutls_x509_crt_t certificate) const { gnutls_x509_crt_deinit(certificate); }
};

bool bears_one_of(gnutls_session_t session, const std::vector<std::string>& names) {
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(session, &count);
  gnutls_x509_crt_t certificate = nullptr;
  if (count == 0 || gnutls_x509_crt_init(&certificate) < 0) return false;
  std::unique_ptr<gnutls_x509_crt_int, FreeCertificate> owner(certificate);
  if (gnutls_x509_crt_import(certificate, &chain[0], GNUTLS_X509_FMT_DER) < 0) return false;
  for (const std::string& name : names) {
    if (gnutls_x509_crt_check_hostname(certificate, name.c_str()) != 0) return true;
  }
  return false;
}

std::string list(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

CertificateVerdict judge_certificate(gnutls_session_int* session, bool of_server,
                                     const std::vector<std::string>& names) {
  const char* purpose = of_server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT;
  gnutls_typed_vdata_st use = {GNUTLS_DT_KEY_PURPOSE_OID,
                               reinterpret_cast<unsigned char*>(const_cast<char*>(purpose)), 0};
  unsigned flags = 0;
  if (gnutls_certificate_verify_peers(session, &use, 1, &flags) < 0) {
    return refused(GNUTLS_A_BAD_CERTIFICATE, "cannot be read");
  }
  if (flags != 0) return refused(flags);
  if (names.empty() || bears_one_of(session, names)) return {};
  return refused(GNUTLS_A_ACCESS_DENIED, "is for another name than " + list(names));
}

std::string certificate_fingerprint(gnutls_session_int* session) {
  unsigned count = 0;
  const gnutls_datum_t* chain = gnutls_certificate_get_peers(session, &count);
  uint8_t hash[32];
  size_t size = sizeof hash;
  if (count == 0 || gnutls_fingerprint(GNUTLS_DIG_SHA256, &chain[0], hash, &size) < 0) return {};
  return to_hex(hash);
}

}  // namespace blockferry

#endif
