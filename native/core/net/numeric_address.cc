#include "net/numeric_address.h"

#include <netdb.h>
#include <netinet/in.h>

#include <cstdlib>
#include <cstring>
#include <memory>

namespace blockferry {

namespace {

// The bytes of an address.
std::string bytes_of(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    auto& four = reinterpret_cast<const sockaddr_in&>(address.storage).sin_addr;
    return std::string(reinterpret_cast<const char*>(&four), sizeof four);
  }
  auto& six = reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_addr;
  return std::string(reinterpret_cast<const char*>(&six), sizeof six);
}

}  // namespace

Status parse_address(const std::string& host, uint16_t port, SocketAddress* address) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list) != 0) {
    return Status::failure(Code::invalid, host + " is no IP address");
  }
  std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(list, freeaddrinfo);
  memcpy(&address->storage, list->ai_addr, list->ai_addrlen);
  address->length = list->ai_addrlen;
  return {};
}

PeerAddress peer_address(int fd) {
  SocketAddress peer;
  peer.length = sizeof peer.storage;
  char host[NI_MAXHOST], port[NI_MAXSERV];
  bool known = getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) == 0 &&
               getnameinfo(peer.get(), peer.length, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0;
  if (!known) return {};
  return {host, static_cast<uint16_t>(strtoul(port, nullptr, 10))};
}

bool is_peer(int fd, const std::string& host) {
  SocketAddress wanted, peer;
  peer.length = sizeof peer.storage;
  if (!parse_address(host, 0, &wanted).ok()) return false;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) != 0) return false;
  return peer.family() == wanted.family() && bytes_of(peer) == bytes_of(wanted);
}

}  // namespace blockferry
