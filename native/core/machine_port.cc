#include "machine_port.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "start_thread.h"

namespace blockferry {

namespace {

// QEMU's multifd goes up to 255 channels; more than a few serve no purpose on one link.
constexpr size_t kMaxConnections = 16;

}  // namespace

MachinePort::MachinePort(RelayLimits& limits, Connect connect, Failed failed)
    : limits_(limits), connect_(std::move(connect)), failed_(std::move(failed)) {}

Status MachinePort::open(const std::string& path) {
  Status status = socket_.open({path, "", 0});
  if (!status.ok()) return status;
  wake_.reset(eventfd(0, EFD_CLOEXEC));
  status = start_thread(&acceptor_, [this] { accept_connections(); });
  if (!status.ok()) socket_.close();
  return status;
}

void MachinePort::accept_connections() {
  for (;;) {
    pollfd waits[2] = {{socket_.fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    poll(waits, 2, -1);
    if (limits_.stop.load()) return;
    int error = 0;
    FileDescriptor local = socket_.accept(&error);
    if (local.open()) start_relay(std::move(local));
    if (error != 0) poll(&waits[1], 1, 100);
  }
}

void MachinePort::start_relay(FileDescriptor local) {
  std::unique_ptr<Socket> peer;
  std::unique_ptr<FrameReader> reader;
  Status status = connect_(&peer, &reader);
  if (!status.ok()) return failed_(std::move(status));
  std::unique_lock lock(mutex_);
  if (closed_ || connections_.size() >= kMaxConnections) return;
  Connection& connection = connections_.emplace_back();
  connection.peer = std::move(peer);
  connection.reader = std::move(reader);
  connection.relay = std::make_unique<MachineRelay>(
      std::move(local), *connection.peer, *connection.reader, limits_, counters_);
  status = start_thread(&connection.thread, [this, &connection] { run_relay(connection); });
  if (status.ok()) return;
  connections_.pop_back();
  lock.unlock();  // failed_ may ask for stats()
  failed_(std::move(status));
}

void MachinePort::run_relay(Connection& connection) {
  Status status = connection.relay->run();
  {
    std::lock_guard lock(mutex_);
    ended_bytes_ += connection.relay->progress().acknowledged;
    connection.done = true;
  }
  connection.peer->shut_down();
  if (!status.ok() && !limits_.stop.load()) failed_(std::move(status));
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
  if (wake_.open()) eventfd_write(wake_.get(), 1);
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    for (Connection& connection : connections_) connection.peer->shut_down();
  }
  if (acceptor_.joinable()) acceptor_.join();
  for (Connection& connection : connections_) {
    if (connection.thread.joinable()) connection.thread.join();
  }
  socket_.close();
  wake_.reset();
  std::lock_guard lock(mutex_);
  connections_.clear();
}

}  // namespace blockferry
