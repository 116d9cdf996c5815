#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/start_thread.h"
#include "net/numeric_address.h"
#include "tunnel/end.h"

namespace blockferry {

namespace {

constexpr int kFirstPauseMs = 200, kLongestPauseMs = 5'000;
constexpr int kConnectTimeoutMs = 5'000;

}  // namespace

TunnelDialer::TunnelDialer(TunnelAddress address, Serve serve,
                           std::function<void(const Status&)> failed)
    : address_(std::move(address)), serve_(std::move(serve)), failed_(std::move(failed)) {}

Status TunnelDialer::start() {
  Status status = stop_.open();
  return status.ok() ? start_thread(&thread_, [this] { run(); }) : status;
}

void TunnelDialer::run() {
  int pause = kFirstPauseMs;
  while (!stop_.raised()) {
    bool greeted = false;
    (void)contain([&] {
      greeted = attempt();
      return Status{};
    });
    pause = greeted ? kFirstPauseMs : std::min(2 * pause, kLongestPauseMs);
    stop_.wait(pause);
  }
}

// Whether it came to a greeting. Returns when the connection is over.
bool TunnelDialer::attempt() {
  FileDescriptor fd;
  Status status = connect(&fd);
  if (!status.ok()) {
    failed_(status);
    return false;
  }
  tune_socket(fd.get(), address_.link_timeout_ms, kTunnelUnsent);
  auto socket = std::make_shared<Socket>(std::move(fd));
  {
    std::lock_guard lock(mutex_);
    if (stop_.raised()) return false;
    socket_ = socket;
  }
  bool greeted = false;
  serve_(socket, [&] { greeted = true; });
  std::lock_guard lock(mutex_);
  socket_.reset();
  return greeted;
}

Status TunnelDialer::connect(FileDescriptor* fd) {
  SocketAddress from, to;
  Status status = parse_address(address_.local, 0, &from);
  if (status.ok()) status = parse_address(address_.remote, address_.port, &to);
  if (!status.ok()) return status;
  std::string where = "connect to " + address_.remote + " port " + std::to_string(address_.port);
  FileDescriptor made(::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.open() || bind(made.get(), from.get(), from.length) != 0) {
    return Status::from_errno(errno, where);
  }
  if (::connect(made.get(), to.get(), to.length) != 0) {
    if (errno != EINPROGRESS) return Status::failure(Code::unreachable, where, errno);
    if (stop_.wait_for(made.get(), POLLOUT, kConnectTimeoutMs) == 0) {
      return Status::failure(Code::timeout, where);
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(made.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return Status::failure(Code::unreachable, where, error);
  }
  fcntl(made.get(), F_SETFL, fcntl(made.get(), F_GETFL) & ~O_NONBLOCK);
  *fd = std::move(made);
  return {};
}

void TunnelDialer::stop() {
  stop_.raise();
  {
    std::lock_guard lock(mutex_);
    if (socket_) socket_->cut();
  }
  if (thread_.joinable()) thread_.join();
  stop_.close();
}

}  // namespace blockferry
