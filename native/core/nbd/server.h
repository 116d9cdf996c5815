// An NBD server: taps exported by name to any NBD client, over Unix sockets or TCP.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "net/listen_socket.h"
#include "tap/tap.h"

namespace blockferry {

struct NbdExport {
  std::string name;
  std::string description;
  bool read_only = false;
  std::shared_ptr<Tap> tap;
};

struct NbdServerOptions {
  // One more takes the place of who has not chosen an export for the longest time; else it is closed.
  uint32_t max_connections = 64;
  uint32_t handshake_timeout_ms = 10'000;
  bool same_user = false;     // over TCP only who is of this user or root (net/same_user.h)
  unsigned queue_depth = 64;  // requests of one connection in flight at the origin
};

struct NbdServerStats {
  uint64_t connections = 0;      // open now
  uint64_t accepted = 0;         // ever
  uint64_t refused = 0;          // or cut off for another: over max_connections, or another user's
  uint64_t protocol_errors = 0;  // connections ended for breaking the protocol
};

class NbdServer {
 public:
  explicit NbdServer(NbdServerOptions options = {});
  ~NbdServer();  // close()

  // May be called several times for several addresses. On success `bound` is the address with
  // the real port. A stale Unix socket that nobody listens on is replaced.
  Status listen(const ListenAddress& address, ListenAddress* bound);

  // Code::busy when the name is taken.
  Status add_export(const NbdExport& entry);
  // Ends the connections that use it (what is in flight is finished first).
  void remove_export(const std::string& name);

  NbdServerStats stats() const;

  // Stops accepting, lets what is in flight finish, ends every connection, joins all threads.
  // Idempotent. Requests held by a gate are answered with NBD_ESHUTDOWN.
  void close();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace blockferry
