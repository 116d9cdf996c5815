#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

#include "base/start_thread.h"
#include "net/numeric_address.h"
#include "tunnel/end.h"

namespace blockferry {

namespace {

constexpr size_t kMostGreeting = 4;
constexpr int kPauseMs = 100;

}  // namespace

TunnelListener::TunnelListener(TunnelAddress address, Serve serve)
    : address_(std::move(address)), serve_(std::move(serve)) {}

Status TunnelListener::start() {
  Status status = socket_.open({"", address_.local, address_.port});
  if (status.ok()) status = stop_.open();
  if (status.ok()) status = start_thread(&acceptor_, [this] { accept_connections(); });
  if (!status.ok()) socket_.close();
  return status;
}

void TunnelListener::accept_connections() {
  while (!stop_.raised()) {
    if (stop_.wait_for(socket_.fd(), POLLIN, -1) == 0) continue;
    int error = 0;
    FileDescriptor fd = socket_.accept(&error);
    reap(false);
    if (fd.open()) (void)contain([&] { return take(std::move(fd)); });
    // Out of descriptors: what is going on must not starve.
    if (error != 0) stop_.wait(kPauseMs);
  }
}

// Without a thread or memory to be had, the connection is dropped: its end tries again.
Status TunnelListener::take(FileDescriptor fd) {
  if (!is_peer(fd.get(), address_.remote)) return {};
  make_room();
  tune_socket(fd.get(), address_.link_timeout_ms, kTunnelUnsent);
  auto socket = std::make_shared<Socket>(std::move(fd));
  std::lock_guard lock(mutex_);
  Connection& connection = connections_.emplace_back();
  connection.socket = std::move(socket);
  Status status = start_thread(&connection.thread, [this, &connection] { serve(connection); });
  if (!status.ok()) connections_.pop_back();
  return status;
}

void TunnelListener::serve(Connection& connection) {
  Status status = contain([&] {
    serve_(connection.socket, [&] {
      std::lock_guard lock(mutex_);
      connection.greeting = false;
    });
    return Status{};
  });
  if (!status.ok()) connection.socket->cut();
  std::lock_guard lock(mutex_);
  connection.greeting = false;
  connection.done = true;
}

// The list is in the order of their coming.
void TunnelListener::make_room() {
  std::list<Connection> oldest;
  {
    std::lock_guard lock(mutex_);
    auto greeting = [](const Connection& connection) { return connection.greeting; };
    auto count = std::count_if(connections_.begin(), connections_.end(), greeting);
    if (static_cast<size_t>(count) < kMostGreeting) return;
    auto found = std::find_if(connections_.begin(), connections_.end(), greeting);
    oldest.splice(oldest.end(), connections_, found);
    oldest.front().socket->cut();
  }
  oldest.front().thread.join();
}

void TunnelListener::reap(bool all) {
  std::list<Connection> gone;
  {
    std::lock_guard lock(mutex_);
    for (auto at = connections_.begin(); at != connections_.end();) {
      auto next = std::next(at);
      if (all) at->socket->cut();
      if (all || at->done) gone.splice(gone.end(), connections_, at);
      at = next;
    }
  }
  for (Connection& connection : gone) connection.thread.join();
}

void TunnelListener::stop() {
  stop_.raise();
  if (acceptor_.joinable()) acceptor_.join();
  reap(true);
  socket_.close();
  stop_.close();
}

}  // namespace blockferry
