// What GnuTLS says, in our codes and in words that name what to mend.
#pragma once

#include "base/status.h"

struct gnutls_session_int;

namespace blockferry {

// Why a call has failed with `code`. `psk`: we have a pre-shared key, not a certificate.
Status tls_failure(gnutls_session_int* session, int code, bool psk);

// What the peer is told then (a gnutls_alert_description_t), or -1 for nothing.
int tls_alert_for(int code, bool psk);

}  // namespace blockferry
