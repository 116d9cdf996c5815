// Is a peer's certificate one that was signed by whom we trust, valid now, for this use and for one
// of these names?
#pragma once

#include <string>
#include <vector>

#include "base/status.h"

struct gnutls_session_int;

namespace blockferry {

struct CertificateVerdict {
  Status status;  // Code::unauthorized when it is not, with the reason
  int alert = 0;  // what the peer is told then (a gnutls_alert_description_t)
};

// `names`: none for any name. `of_server`: it is a server that shows it.
CertificateVerdict judge_certificate(gnutls_session_int* session, bool of_server,
                                     const std::vector<std::string>& names);

// The SHA-256 of the peer's certificate in hexadecimal.
std::string certificate_fingerprint(gnutls_session_int* session);

}  // namespace blockferry
