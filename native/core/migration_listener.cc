#include "migration_listener.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <cstdio>
#include <system_error>

namespace blockferry {

namespace {

// 128 random bits in hexadecimal: who knows it may join the session.
std::string random_id() {
  uint8_t bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return {};
  std::string id;
  for (uint8_t byte : bytes) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", byte);
    id += digits;
  }
  return id;
}

}  // namespace

MigrationListener::MigrationListener(MigrationListenerOptions options, OnSession on_session)
    : options_(options), on_session_(std::move(on_session)) {}

Status MigrationListener::listen(const std::string& host, uint16_t port) {
  Status status = socket_.open({"", host, port});
  if (!status.ok()) return status;
  wake_.reset(eventfd(0, EFD_CLOEXEC));
  acceptor_ = std::thread([this] { accept_connections(); });
  return {};
}

void MigrationListener::accept_connections() {
  while (!stop_.load()) {
    pollfd waits[2] = {{socket_.fd(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    poll(waits, 2, -1);
    if (stop_.load()) return;
    int error = 0;
    FileDescriptor socket = socket_.accept(&error);
    reap_connections();
    if (!socket.open()) {
      // Out of descriptors: what is going on must not starve, so wait a little.
      if (error != 0) poll(&waits[1], 1, 100);
      continue;
    }
    if (greeting_.load() >= options_.max_greeting) continue;
    tune_socket(socket.get(), options_.link_timeout_ms);
    start_connection(std::move(socket));
  }
}

// Without a thread to be had, the connection is dropped.
void MigrationListener::start_connection(FileDescriptor socket) {
  int fd = socket.get();
  std::lock_guard lock(mutex_);
  Connection& connection = connections_.emplace_back();
  try {
    connection.thread = std::thread([this, &connection, fd] { serve(connection, FileDescriptor(fd)); });
  } catch (const std::system_error&) {
    connections_.pop_back();
    return;
  }
  connection.fd = socket.release();
  greeting_++;
}

void MigrationListener::serve(Connection& connection, FileDescriptor socket) {
  int fd = socket.get();
  FrameReader reader(fd);
  std::string hello;
  Status status = greet(reader, &hello);
  greeting_--;
  if (status.ok()) {
    status = hello == "control" ? welcome_control(connection, socket, reader)
                                : welcome_data(socket, reader, hello);
  }
  // Whether the peer still hears why makes no difference here.
  if (!status.ok() && socket.open()) {
    (void)send_text(fd, FrameType::error, error_text(status));
  }
  std::lock_guard lock(mutex_);
  connection.fd = -1;
  connection.done = true;
}

Status MigrationListener::greet(FrameReader& reader, std::string* hello) {
  reader.set_deadline(Clock::now() + std::chrono::milliseconds(options_.greeting_timeout_ms));
  FrameHeader header;
  Status status = reader.header(&header);
  if (!status.ok()) return status;
  if (header.type != FrameType::hello) {
    return Status::failure(Code::protocol, "the connection does not begin with a greeting");
  }
  status = reader.text(header, hello);
  reader.set_deadline(kNoDeadline);
  return status;
}

// A data connection can't come before the source was told of the session's disks, which is after
// on_session_: so the session may enter the list last.
Status MigrationListener::welcome_control(Connection& connection, FileDescriptor& socket,
                                          FrameReader& reader) {
  auto session = std::make_shared<ReceiverSession>(random_id());
  std::unique_lock lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the receiver is closing");
  if (sessions_.size() >= options_.max_sessions) {
    return Status::failure(Code::busy, "too many migrations at once");
  }
  Status status = send_text(socket.get(), FrameType::welcome, session->id());
  if (!status.ok()) return status;
  connection.fd = -1;  // the session's from here on
  session->adopt_control(std::move(socket), std::move(reader));
  sessions_[session->id()] = session;
  lock.unlock();
  on_session_(session);
  return {};
}

std::shared_ptr<ReceiverSession> MigrationListener::session_of(const std::string& id) {
  std::lock_guard lock(mutex_);
  auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second;
}

Status MigrationListener::welcome_data(FileDescriptor& socket, FrameReader& reader,
                                       const std::string& hello) {
  char id[33] = {};
  unsigned index = 0, count = 0;
  if (sscanf(hello.c_str(), "machine %32[0-9a-f]", id) == 1) {
    return welcome_machine(socket, reader, id);
  }
  if (sscanf(hello.c_str(), "inventory %32[0-9a-f]", id) == 1) return welcome_inventory(socket, id);
  if (sscanf(hello.c_str(), "data %32[0-9a-f] %u %u", id, &index, &count) != 3) {
    return Status::failure(Code::protocol, "an unknown greeting");
  }
  auto session = session_of(id);
  if (!session) return Status::failure(Code::not_found, "no such session");
  Status status = session->join_stream(index, count, socket.get());
  if (!status.ok()) return status;
  // A peer that is gone already shows in the first read.
  status = send_text(socket.get(), FrameType::welcome, id);
  session->run_stream(index, socket.get(), reader);
  return {};
}

Status MigrationListener::welcome_machine(FileDescriptor& socket, FrameReader& reader,
                                          const std::string& id) {
  auto session = session_of(id);
  if (!session) return Status::failure(Code::not_found, "no such session");
  FileDescriptor local;
  Status status = session->join_machine(socket.get(), &local);
  if (!status.ok()) return status;
  status = send_text(socket.get(), FrameType::welcome, id);
  session->run_machine(std::move(local), socket.get(), reader);
  return {};
}

Status MigrationListener::welcome_inventory(FileDescriptor& socket, const std::string& id) {
  auto session = session_of(id);
  if (!session) return Status::failure(Code::not_found, "no such session");
  Status status = session->join_inventory(socket.get());
  if (!status.ok()) return status;
  status = send_text(socket.get(), FrameType::welcome, id);
  session->run_inventory(socket.get());
  return {};
}

void MigrationListener::reap_connections() {
  std::list<Connection> done;
  {
    std::lock_guard lock(mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      auto next = std::next(it);
      if (it->done) done.splice(done.end(), connections_, it);
      it = next;
    }
  }
  for (auto& connection : done) connection.thread.join();
}

void MigrationListener::forget(const std::string& id) {
  std::lock_guard lock(mutex_);
  sessions_.erase(id);
}

void MigrationListener::close() {
  std::lock_guard closing(close_mutex_);
  if (!stop_.exchange(true) && wake_.open()) eventfd_write(wake_.get(), 1);
  if (acceptor_.joinable()) acceptor_.join();
  std::map<std::string, std::shared_ptr<ReceiverSession>> sessions;
  {
    std::lock_guard lock(mutex_);
    sessions.swap(sessions_);
    for (auto& connection : connections_) {
      if (connection.fd >= 0) shutdown(connection.fd, SHUT_RDWR);
    }
  }
  for (auto& [id, session] : sessions) session->close();
  std::list<Connection> connections;
  {
    std::lock_guard lock(mutex_);
    connections.swap(connections_);
  }
  for (auto& connection : connections) connection.thread.join();
  socket_.close();
}

}  // namespace blockferry
