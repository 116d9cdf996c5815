#include "net/tcp.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>

#include "net/resolve.h"

namespace blockferry {

namespace {

int milliseconds_until(Deadline deadline) {
  if (deadline == kNoDeadline) return -1;
  auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<int64_t>(left.count(), 0, 1 << 30));
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

// 0, or the errno.
int connect_one(int fd, const sockaddr* address, socklen_t length, Deadline deadline) {
  if (connect(fd, address, length) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd wait{fd, POLLOUT, 0};
  int ready;
  do {
    ready = poll(&wait, 1, milliseconds_until(deadline));
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

}  // namespace

Status connect_tcp(const std::string& host, uint16_t port, uint32_t timeout_ms,
                   FileDescriptor* socket) {
  std::string where = host + ":" + std::to_string(port);
  Deadline deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  Addresses list;
  Status status = resolve(host, port, AI_ADDRCONFIG, deadline, &list);
  // What is missing now may be there the next time.
  if (!status.ok() && status.code != Code::timeout) status.code = Code::unreachable;
  if (!status.ok()) return status;
  int last = EHOSTUNREACH;
  for (addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    FileDescriptor fd(::socket(entry->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.open()) {
      last = errno;
      continue;
    }
    last = connect_one(fd.get(), entry->ai_addr, entry->ai_addrlen, deadline);
    if (last != 0) continue;
    fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK);
    *socket = std::move(fd);
    return {};
  }
  Code code = last == ETIMEDOUT ? Code::timeout : Code::unreachable;
  return Status::failure(code, "connect to " + where, last);
}

void tune_socket(int fd, uint32_t timeout_ms, int unsent) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  int seconds = std::max<int>(1, static_cast<int>(timeout_ms / 1000));
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, std::max(1, seconds / 3));
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::max(1, seconds / 3));
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(timeout_ms));
  set_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, unsent);
}

Status send_all(int fd, iovec* parts, size_t count, Deadline deadline) {
  int flags = MSG_NOSIGNAL | (deadline == kNoDeadline ? 0 : MSG_DONTWAIT);
  while (count > 0) {
    if (deadline != kNoDeadline) {
      pollfd wait{fd, POLLOUT, 0};
      int ready = poll(&wait, 1, milliseconds_until(deadline));
      if (ready == 0) return Status::failure(Code::timeout, "the peer did not read in time");
    }
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = std::min<size_t>(count, 1024);
    ssize_t sent = sendmsg(fd, &message, flags);
    if (sent < 0 && (errno == EINTR || ((flags & MSG_DONTWAIT) && errno == EAGAIN))) continue;
    if (sent < 0) return Status::from_errno(errno, "send to the peer");
    auto left = static_cast<size_t>(sent);
    while (count > 0 && left >= parts->iov_len) {
      left -= parts->iov_len;
      parts++;
      count--;
    }
    if (count > 0) {
      parts->iov_base = static_cast<uint8_t*>(parts->iov_base) + left;
      parts->iov_len -= left;
    }
  }
  return {};
}

Status send_at_once(int fd, const void* bytes, size_t length) {
  ssize_t sent = ::send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent == static_cast<ssize_t>(length)) return {};
  int error = sent < 0 && errno != EAGAIN ? errno : ETIMEDOUT;
  return Status::from_errno(error, "send to the peer");
}

Status receive_some(int fd, void* buffer, size_t length, Deadline deadline, size_t* got) {
  for (;;) {
    if (deadline != kNoDeadline) {
      pollfd wait{fd, POLLIN, 0};
      int ready = poll(&wait, 1, milliseconds_until(deadline));
      if (ready < 0 && errno == EINTR) continue;
      if (ready == 0) return Status::failure(Code::timeout, "the peer did not speak in time");
    }
    ssize_t count = recv(fd, buffer, length, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return Status::from_errno(errno, "receive from the peer");
    if (count == 0) return Status::failure(Code::peer_gone, "the peer closed the connection");
    *got = static_cast<size_t>(count);
    return {};
  }
}

SocketProgress socket_progress(int fd) {
  SocketProgress progress;
  tcp_info info = {};
  socklen_t size = sizeof info;
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) {
    progress.acknowledged = info.tcpi_bytes_acked;
    progress.round_trip_us = info.tcpi_rtt;
  }
  int queued = 0;
  if (ioctl(fd, SIOCOUTQ, &queued) == 0) progress.in_flight = static_cast<uint64_t>(queued);
  return progress;
}

}  // namespace blockferry
