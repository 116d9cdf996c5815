// Who may be at the other end of a migration's connections.
#pragma once

#include <memory>
#include <utility>

#include "net/tls_credentials.h"

namespace blockferry {

// Whoever has keys that go with `keys`. Without: on this host's loopback, with `same_user`, who is of the
// same user or root; else anybody.
struct Trust {
  Trust(std::shared_ptr<const TlsCredentials> keys = nullptr, bool same_user = false)
      : keys(std::move(keys)), same_user(same_user) {}

  std::shared_ptr<const TlsCredentials> keys;
  bool same_user;
};

}  // namespace blockferry
