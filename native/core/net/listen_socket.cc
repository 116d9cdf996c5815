#include "net/listen_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <utility>

#include "net/resolve.h"

namespace blockferry {

namespace {

constexpr int kBacklog = SOMAXCONN;
constexpr std::chrono::seconds kResolveTime{10};
constexpr int kSocketFlags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;

sockaddr_un unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// True for a socket in the file system that nobody listens on any more.
bool is_stale(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return false;
  FileDescriptor probe(socket(AF_UNIX, kSocketFlags, 0));
  sockaddr_un address = unix_address(path);
  return probe.open() &&
         connect(probe.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

bool is_transient(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR || error == ECONNABORTED;
}

}  // namespace

ListenSocket& ListenSocket::operator=(ListenSocket&& other) noexcept {
  if (this == &other) return *this;
  close();
  fd_ = std::move(other.fd_);
  bound_ = std::move(other.bound_);
  device_ = other.device_;
  inode_ = other.inode_;
  return *this;
}

Status ListenSocket::open(const ListenAddress& address) {
  close();
  if (!address.unix_path.empty()) return open_unix(address.unix_path);
  return open_tcp(address.host, address.port);
}

Status ListenSocket::open_unix(const std::string& path) {
  if (path.size() >= sizeof(sockaddr_un::sun_path) || path.find('\0') != std::string::npos) {
    return Status::failure(Code::invalid,
                           "listen on " + path + ": a socket's path has at most 107 bytes");
  }
  Status status = bind_unix(path);
  if (status.code == Code::address_in_use && is_stale(path) && unlink(path.c_str()) == 0) {
    status = bind_unix(path);
  }
  return status;
}

Status ListenSocket::bind_unix(const std::string& path) {
  FileDescriptor fd(socket(AF_UNIX, kSocketFlags, 0));
  // The path takes its mode from the socket's own at bind(): it is never open to others.
  if (!fd.open() || fchmod(fd.get(), 0600) != 0) {
    return Status::from_errno(errno, "make a socket for " + path);
  }
  sockaddr_un address = unix_address(path);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno(errno, "listen on " + path);
  }
  struct stat info;
  if (::listen(fd.get(), kBacklog) != 0 || lstat(path.c_str(), &info) != 0) {
    int error = errno;
    unlink(path.c_str());
    return Status::from_errno(error, "listen on " + path);
  }
  fd_ = std::move(fd);
  bound_ = {path, "", 0};
  device_ = info.st_dev;
  inode_ = info.st_ino;
  return {};
}

Status ListenSocket::open_tcp(const std::string& host, uint16_t port) {
  if (host.empty()) return Status::failure(Code::invalid, "listen: no host was named");
  Addresses addresses;
  auto deadline = std::chrono::steady_clock::now() + kResolveTime;
  Status status = resolve(host, port, AI_PASSIVE, deadline, &addresses);
  if (!status.ok()) return status;
  int error = EADDRNOTAVAIL;
  for (addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    FileDescriptor fd(socket(at->ai_family, kSocketFlags, at->ai_protocol));
    int on = 1;
    if (fd.open() && setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd.get(), at->ai_addr, at->ai_addrlen) == 0 && ::listen(fd.get(), kBacklog) == 0) {
      fd_ = std::move(fd);
      remember_tcp_address();
      return {};
    }
    error = errno;
  }
  return Status::from_errno(error, "listen on " + host + " port " + std::to_string(port));
}

void ListenSocket::remember_tcp_address() {
  sockaddr_storage address;
  socklen_t length = sizeof address;
  getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &length);
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  getnameinfo(reinterpret_cast<sockaddr*>(&address), length, host, sizeof host, port, sizeof port,
              NI_NUMERICHOST | NI_NUMERICSERV);
  bound_ = {"", host, static_cast<uint16_t>(std::stoul(port))};
}

FileDescriptor ListenSocket::accept(int* error) {
  *error = 0;
  FileDescriptor connection(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection.open()) {
    if (!is_transient(errno)) *error = errno;
    return connection;
  }
  if (bound_.unix_path.empty()) {
    int on = 1;
    setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(connection.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  }
  return connection;
}

void ListenSocket::close() {
  if (!fd_.open()) return;
  fd_.reset();
  struct stat info;
  const std::string& path = bound_.unix_path;
  if (!path.empty() && lstat(path.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    unlink(path.c_str());
  }
  bound_ = {};
}

}  // namespace blockferry
