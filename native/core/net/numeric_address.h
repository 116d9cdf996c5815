// Addresses in numbers: no name server is ever asked.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/status.h"

namespace blockferry {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// Code::invalid for what is no IP address.
Status parse_address(const std::string& host, uint16_t port, SocketAddress* address);

// Where a connection comes from.
struct PeerAddress {
  std::string host;  // empty: it has gone already
  uint16_t port = 0;
};
PeerAddress peer_address(int fd);

// Whether the other end of a connection has this address.
bool is_peer(int fd, const std::string& host);

}  // namespace blockferry
