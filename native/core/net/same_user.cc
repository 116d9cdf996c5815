#include "net/same_user.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

namespace blockferry {

namespace {

constexpr unsigned kEstablished = 1;  // of the states in /proc/net/tcp

// IPv4 as IPv6 maps it: a socket of either family can have it.
struct Endpoint {
  std::array<uint32_t, 4> address = {};  // in network order
  unsigned port = 0;
  bool operator==(const Endpoint&) const = default;
};

Endpoint mapped(uint32_t v4, unsigned port) { return {{0, 0, htonl(0xffff), v4}, port}; }

bool read_endpoint(int fd, decltype(getsockname) ask, Endpoint* endpoint) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (ask(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return false;
  if (storage.ss_family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(storage);
    *endpoint = mapped(v4.sin_addr.s_addr, ntohs(v4.sin_port));
    return true;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(storage);
  memcpy(endpoint->address.data(), &v6.sin6_addr, sizeof v6.sin6_addr);
  endpoint->port = ntohs(v6.sin6_port);
  return storage.ss_family == AF_INET6;
}

// "0100007F:0BB8", or the like with 32 digits: words as they lie in memory.
bool parse_endpoint(const char* text, Endpoint* endpoint) {
  std::array<uint32_t, 4> words = {};
  int count = 0, used = 0;
  for (; count < 4 && sscanf(text, "%8" SCNx32 "%n", &words[count], &used) == 1; count++) text += used;
  if (sscanf(text, ":%x", &endpoint->port) != 1) return false;
  endpoint->address = words;
  if (count == 1) *endpoint = mapped(words[0], endpoint->port);
  return count == 1 || count == 4;
}

// A connection that somebody has open: not one that waits to be accepted, nor one that was closed.
std::optional<uid_t> owner_in(const char* table, const Endpoint& local, const Endpoint& remote) {
  std::ifstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    char from[48], to[48];
    unsigned state, uid;
    uint64_t inode;
    if (sscanf(line.c_str(), " %*u: %47s %47s %x %*s %*s %*s %u %*u %" SCNu64, from, to, &state, &uid,
               &inode) != 5) {
      continue;
    }
    Endpoint here, there;
    bool is_it = parse_endpoint(from, &here) && parse_endpoint(to, &there) && here == local && there == remote;
    if (is_it && state == kEstablished && inode != 0) return uid;
  }
  return std::nullopt;
}

}  // namespace

Status check_same_user(int fd) {
  Endpoint own, other;
  std::optional<uid_t> owner;
  if (read_endpoint(fd, getsockname, &own) && read_endpoint(fd, getpeername, &other)) {
    owner = owner_in("/proc/thread-self/net/tcp", other, own);
    if (!owner) owner = owner_in("/proc/thread-self/net/tcp6", other, own);
  }
  if (owner && (*owner == geteuid() || *owner == 0)) return {};
  std::string who = owner ? "belongs to the user with the number " + std::to_string(*owner)
                          : "belongs to nobody known";
  return Status::failure(Code::unauthorized,
                         "the other end of this connection " + who + ": without keys only this user and root are welcome");
}

}  // namespace blockferry
