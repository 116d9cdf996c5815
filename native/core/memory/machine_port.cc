#include "memory/machine_port.h"

#include "base/start_thread.h"

namespace blockferry {

namespace {

// QEMU's multifd goes up to 255 channels; more than a few serve no purpose on one link.
constexpr size_t kMaxConnections = 16;
constexpr int kPauseMs = 100;  // after a lack of descriptors

}  // namespace

MachinePort::MachinePort(RelayLimits& limits, Connect connect, Failed failed)
    : limits_(limits), connect_(std::move(connect)), failed_(std::move(failed)) {}

Status MachinePort::open(const std::string& path) {
  Status status = socket_.open({path, "", 0});
  if (status.ok()) status = stop_.open();
  if (status.ok()) status = start_thread(&acceptor_, [this] { accept_connections(); });
  if (!status.ok()) socket_.close();
  return status;
}

void MachinePort::accept_connections() {
  while (!stop_.raised()) {
    if (stop_.wait_for(socket_.fd(), POLLIN, -1) == 0) continue;
    int error = 0;
    FileDescriptor local = socket_.accept(&error);
    if (local.open()) {
      Status status = contain([&] { return start_relay(std::move(local)); });
      if (!status.ok()) fail(std::move(status));
    }
    if (error != 0) stop_.wait(kPauseMs);
  }
}

void MachinePort::fail(Status status) {
  insist([&] { failed_(status); });
}

Status MachinePort::start_relay(FileDescriptor local) {
  std::unique_ptr<Socket> peer;
  std::unique_ptr<FrameReader> reader;
  Status status = connect_(&peer, &reader);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  if (stop_.raised() || connections_.size() >= kMaxConnections) return {};
  auto relay = std::make_unique<MachineRelay>(std::move(local), *peer, *reader, limits_, counters_);
  Connection& connection = connections_.emplace_back();
  connection.peer = std::move(peer);
  connection.reader = std::move(reader);
  connection.relay = std::move(relay);
  status = start_thread(&connection.thread, [this, &connection] { run_relay(connection); });
  if (!status.ok()) connections_.pop_back();
  return status;
}

void MachinePort::run_relay(Connection& connection) {
  Status status = contain([&] { return connection.relay->run(); });
  {
    std::lock_guard lock(mutex_);
    ended_bytes_ += connection.relay->progress().acknowledged;
    connection.done = true;
  }
  connection.peer->shut_down();
  if (!status.ok() && !stop_.raised()) fail(std::move(status));
}

MachineStats MachinePort::stats() const {
  std::lock_guard lock(mutex_);
  MachineStats stats;
  stats.content_bytes = counters_.content_bytes;
  stats.wire_bytes = counters_.wire_bytes;
  stats.acknowledged_bytes = ended_bytes_;
  for (const Connection& connection : connections_) {
    if (connection.done) continue;
    SocketProgress progress = connection.relay->progress();
    stats.acknowledged_bytes += progress.acknowledged;
    stats.in_flight_bytes += progress.in_flight;
    stats.connections++;
  }
  return stats;
}

void MachinePort::close() {
  limits_.stop = true;
  {
    std::lock_guard lock(mutex_);
    stop_.raise();
    for (Connection& connection : connections_) connection.relay->break_off();
  }
  if (acceptor_.joinable()) acceptor_.join();
  for (Connection& connection : connections_) {
    if (connection.thread.joinable()) connection.thread.join();
  }
  socket_.close();
  stop_.close();
  std::lock_guard lock(mutex_);
  connections_.clear();
}

}  // namespace blockferry
