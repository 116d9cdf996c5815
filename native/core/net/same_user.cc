#include "net/same_user.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>

#include "base/file_descriptor.h"

namespace blockferry {

namespace {

constexpr int kLooks = 5;  // at the kernel's tables, where it can't be asked

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
  for (; count < 4 && sscanf(text, "%8" SCNx32 "%n", &words[count], &used) == 1; count++)
    text += used;
  if (sscanf(text, ":%x", &endpoint->port) != 1) return false;
  endpoint->address = words;
  if (count == 1) *endpoint = mapped(words[0], endpoint->port);
  return count == 1 || count == 4;
}

// One that waits to be accepted, or was closed, has no inode, and no owner.
std::optional<uid_t> owner_if_open(uint64_t inode, uid_t uid) {
  return inode != 0 ? std::optional<uid_t>(uid) : std::nullopt;
}

bool is_v4(const Endpoint& endpoint) {
  return endpoint.address[0] == 0 && endpoint.address[1] == 0 &&
         endpoint.address[2] == htonl(0xffff);
}

void put_address(const Endpoint& endpoint, __be32* place) {
  bool v4 = is_v4(endpoint);
  memcpy(place, v4 ? &endpoint.address[3] : endpoint.address.data(), v4 ? 4 : 16);
}

// The kernel's own answer for this one connection, where it has the module for that.
std::optional<uid_t> ask_for_owner(const Endpoint& local, const Endpoint& remote) {
  struct {
    nlmsghdr header;
    inet_diag_req_v2 wanted;
  } request = {};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST;
  request.wanted.sdiag_family = is_v4(local) ? AF_INET : AF_INET6;
  request.wanted.sdiag_protocol = IPPROTO_TCP;
  inet_diag_sockid& id = request.wanted.id;
  id.idiag_sport = htons(static_cast<uint16_t>(local.port));
  id.idiag_dport = htons(static_cast<uint16_t>(remote.port));
  put_address(local, id.idiag_src);
  put_address(remote, id.idiag_dst);
  id.idiag_cookie[0] = id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;

  FileDescriptor kernel(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!kernel.open() || send(kernel.get(), &request, sizeof request, 0) < 0) return std::nullopt;
  alignas(nlmsghdr) char answer[4096];
  ssize_t got = recv(kernel.get(), answer, sizeof answer, 0);
  auto* header = reinterpret_cast<const nlmsghdr*>(answer);
  size_t needed = NLMSG_LENGTH(sizeof(inet_diag_msg));
  if (got < static_cast<ssize_t>(needed) || header->nlmsg_type != SOCK_DIAG_BY_FAMILY)
    return std::nullopt;
  auto* found = static_cast<const inet_diag_msg*>(NLMSG_DATA(header));
  bool is_it = found->id.idiag_dport == id.idiag_dport;  // not a socket that listens there
  return is_it ? owner_if_open(found->idiag_inode, found->idiag_uid) : std::nullopt;
}

// A row can be passed over while others come and go.
std::optional<uid_t> owner_in(const char* table, const Endpoint& local, const Endpoint& remote) {
  std::ifstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    char from[48], to[48];
    unsigned uid;
    uint64_t inode;
    if (sscanf(line.c_str(), " %*u: %47s %47s %*s %*s %*s %*s %u %*u %" SCNu64, from, to, &uid,
               &inode) != 4) {
      continue;
    }
    Endpoint here, there;
    bool is_it = parse_endpoint(from, &here) && parse_endpoint(to, &there) && here == local &&
                 there == remote;
    if (!is_it) continue;
    if (auto owner = owner_if_open(inode, uid)) return owner;
  }
  return std::nullopt;
}

// Where the kernel answers for our own end, it can be believed when it knows of none at the other.
std::optional<uid_t> find_owner(const Endpoint& local, const Endpoint& remote) {
  auto owner = ask_for_owner(local, remote);
  if (owner || ask_for_owner(remote, local)) return owner;
  for (int look = 0; look < kLooks && !owner; look++) {
    owner = owner_in("/proc/thread-self/net/tcp", local, remote);
    if (!owner) owner = owner_in("/proc/thread-self/net/tcp6", local, remote);
  }
  return owner;
}

bool is_open_at_both_ends(int fd) {
  tcp_info info = {};
  socklen_t length = sizeof info;
  return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 &&
         info.tcpi_state == TCP_ESTABLISHED;
}

}  // namespace

Status check_same_user(int fd) {
  Endpoint own, other;
  std::optional<uid_t> owner;
  if (read_endpoint(fd, getsockname, &own) && read_endpoint(fd, getpeername, &other)) {
    owner = find_owner(other, own);
  }
  if (owner && (*owner == geteuid() || *owner == 0)) return {};
  if (!owner && !is_open_at_both_ends(fd))
    return Status::failure(Code::peer_gone, "the connection has ended");
  std::string who = owner ? "belongs to the user with the number " + std::to_string(*owner)
                          : "belongs to nobody known";
  return Status::failure(Code::unauthorized,
                         "the other end of this connection " + who +
                             ": without keys only this user and root are welcome");
}

}  // namespace blockferry
