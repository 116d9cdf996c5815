#include "receive/listener.h"

#include <netinet/in.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdio>

#include "base/hex.h"
#include "base/start_thread.h"

namespace blockferry {

namespace {

// How long a stranger that was cut off may take to go.
constexpr std::chrono::milliseconds kRoomWait{500};
constexpr int kPauseMs = 100;  // after a lack of descriptors: what is going on must not starve

// The address of an IPv4 peer, the network (/64) of an IPv6 one: whoever has one has all of it.
std::string network_of(int fd) {
  sockaddr_storage address = {};
  socklen_t length = sizeof address;
  getpeername(fd, reinterpret_cast<sockaddr*>(&address), &length);
  if (address.ss_family == AF_INET) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address).sin_addr;
    return std::string(reinterpret_cast<char*>(&v4), sizeof v4);
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(address).sin6_addr;
  bool mapped = IN6_IS_ADDR_V4MAPPED(&v6);
  return std::string(reinterpret_cast<char*>(&v6), mapped ? sizeof v6 : sizeof v6 / 2);
}

// 128 random bits in hexadecimal: who knows it may join the session.
std::string random_id() {
  uint8_t bytes[16];
  if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes) return {};
  return to_hex(bytes);
}

// One who can't be told, or has gone, shows in the first read.
void say_welcome(Socket& socket, const std::string& id) {
  Status status = contain([&] { return send_text(socket, FrameType::welcome, id); });
  if (!status.ok()) socket.shut_down();
}

Status too_many() {
  return Status::failure(Code::busy, "too many connections that have not said who they are");
}

}  // namespace

MigrationListener::MigrationListener(MigrationListenerOptions options, OnSession on_session,
                                     OnRefused on_refused)
    : options_(options), on_session_(std::move(on_session)), on_refused_(std::move(on_refused)) {}

Status MigrationListener::listen(const std::string& host, uint16_t port) {
  Status status = socket_.open({"", host, port});
  if (status.ok()) status = stop_.open();
  if (status.ok()) status = start_thread(&acceptor_, [this] { accept_connections(); });
  if (!status.ok()) socket_.close();
  return status;
}

void MigrationListener::accept_connections() {
  while (!stop_.raised()) {
    if (stop_.wait_for(socket_.fd(), POLLIN, -1) == 0) continue;
    int error = 0;
    FileDescriptor socket = socket_.accept(&error);
    reap_connections();
    if (error != 0) stop_.wait(kPauseMs);
    if (socket.open()) take(std::move(socket));
  }
}

// Or drops it.
void MigrationListener::take(FileDescriptor socket) {
  PeerAddress peer;
  Status status = contain([&] {
    peer = peer_address(socket.get());
    Status room = make_room();
    if (!room.ok()) return room;
    tune_socket(socket.get(), options_.link_timeout_ms);
    return start_connection(std::move(socket), peer);
  });
  if (!status.ok()) refuse(peer, status);
}

// Nobody waits for it: without memory it is not told.
void MigrationListener::refuse(const PeerAddress& peer, const Status& why) {
  if (stop_.raised()) return;
  (void)contain([&] {
    on_refused_({peer, why});
    return Status{};
  });
}

// Code::busy when the newcomer must be dropped.
Status MigrationListener::make_room() {
  std::unique_lock lock(mutex_);
  if (greeting_ < options_.max_greeting) return {};
  if (Connection* victim = longest_of_the_most()) {
    victim->displaced = true;
    victim->socket->cut();
  }
  auto has_room = [this] { return greeting_ < options_.max_greeting; };
  return room_.wait_for(lock, kRoomWait, has_room) ? Status{} : too_many();
}

// Under the lock. The list is in the order of their coming.
MigrationListener::Connection* MigrationListener::longest_of_the_most() {
  std::map<std::string, uint32_t> waiting;
  uint32_t most = 0;
  for (const Connection& connection : connections_) {
    if (connection.greeting) most = std::max(most, ++waiting[connection.network]);
  }
  for (Connection& connection : connections_) {
    bool of_the_most = connection.greeting && waiting[connection.network] == most;
    if (of_the_most && connection.socket != nullptr) return &connection;
  }
  return nullptr;
}

// Without a thread to be had, the connection is dropped.
Status MigrationListener::start_connection(FileDescriptor fd, const PeerAddress& peer) {
  std::string network = network_of(fd.get());
  auto socket = std::make_unique<Socket>(std::move(fd));
  std::lock_guard lock(mutex_);
  Connection& connection = connections_.emplace_back();
  connection.peer = peer;
  connection.network = std::move(network);
  connection.socket = socket.get();
  auto run = [this, &connection, owner = std::move(socket)]() mutable {
    serve(connection, std::move(owner));
  };
  Status status = start_thread(&connection.thread, std::move(run));
  if (status.ok())
    greeting_++;
  else
    connections_.pop_back();
  return status;
}

void MigrationListener::serve(Connection& connection, std::unique_ptr<Socket> socket) {
  std::unique_ptr<FrameReader> reader;
  std::string hello;
  Status status = contain([&] { return greet(*socket, &reader, &hello); });
  greeted(connection);
  if (status.ok()) {
    status = contain([&] { return welcome(connection, socket, *reader, hello); });
  } else if (connection.displaced) {
    status = contain(too_many);
  }
  if (!status.ok()) refuse(connection.peer, status);
  // Whether the peer still hears why makes no difference here.
  if (!status.ok() && socket) {
    (void)contain([&] { return send_text(*socket, FrameType::error, error_text(status)); });
  }
  if (socket) socket->shut_down();
  std::lock_guard lock(mutex_);
  connection.socket = nullptr;
  connection.done = true;
}

void MigrationListener::greeted(Connection& connection) {
  std::lock_guard lock(mutex_);
  connection.greeting = false;
  greeting_--;
  room_.notify_one();
}

// A stranger gets no buffers of ours before it has shown who it is.
Status MigrationListener::greet(Socket& socket, std::unique_ptr<FrameReader>* reader,
                                std::string* hello) {
  Deadline deadline = Clock::now() + std::chrono::milliseconds(options_.greeting_timeout_ms);
  const Trust& trust = options_.trust;
  Status status;
  if (trust.keys) {
    auto session = std::make_unique<TlsSession>(trust.keys, TlsSession::Side::server, "");
    status = socket.secure(std::move(session), deadline);
  } else if (trust.same_user) {
    status = socket.check_same_user();
  }
  if (!status.ok()) return status;
  *reader = std::make_unique<FrameReader>(socket);
  (*reader)->set_deadline(deadline);
  FrameHeader header;
  status = (*reader)->header(&header);
  if (!status.ok()) return status;
  if (header.type != FrameType::hello) {
    return Status::failure(Code::protocol, "the connection does not begin with a greeting");
  }
  status = (*reader)->text(header, hello);
  (*reader)->set_deadline(kNoDeadline);
  return status;
}

Status MigrationListener::welcome(Connection& connection, std::unique_ptr<Socket>& socket,
                                  FrameReader& reader, const std::string& hello) {
  return hello == "control" ? welcome_control(connection, socket, reader)
                            : welcome_data(*socket, reader, hello);
}

// A data connection can't come before the source was told of the session's disks, which is after
// on_session_: so the session may enter the list last.
Status MigrationListener::welcome_control(Connection& connection, std::unique_ptr<Socket>& socket,
                                          FrameReader& reader) {
  auto session = std::make_shared<ReceiverSession>(random_id(), socket->peer());
  std::unique_lock lock(mutex_);
  if (stop_.raised()) return Status::failure(Code::closed, "the receiver is closing");
  if (sessions_.size() >= options_.max_sessions) {
    return Status::failure(Code::busy, "too many migrations at once");
  }
  Status status = send_text(*socket, FrameType::welcome, session->id());
  if (!status.ok()) return status;
  connection.socket = nullptr;  // the session's from here on
  session->adopt_control(std::move(socket), std::move(reader));
  sessions_[session->id()] = session;
  lock.unlock();
  status = contain([&] {
    on_session_(session);
    return Status{};
  });
  if (!status.ok()) forget(session->id());  // nobody knows of it
  return status;
}

// Whoever opened it, and nobody else, may join it.
std::shared_ptr<ReceiverSession> MigrationListener::session_of(const std::string& id,
                                                               const Socket& socket) {
  std::lock_guard lock(mutex_);
  auto found = sessions_.find(id);
  bool is_its_own = found != sessions_.end() && found->second->peer() == socket.peer();
  return is_its_own ? found->second : nullptr;
}

Status MigrationListener::welcome_data(Socket& socket, FrameReader& reader,
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
  auto session = session_of(id, socket);
  if (!session) return Status::failure(Code::not_found, "no such session");
  Status status = session->join_stream(index, count, socket);
  if (!status.ok()) return status;
  say_welcome(socket, session->id());
  session->run_stream(index, socket, reader);
  return {};
}

Status MigrationListener::welcome_machine(Socket& socket, FrameReader& reader,
                                          const std::string& id) {
  auto session = session_of(id, socket);
  if (!session) return Status::failure(Code::not_found, "no such session");
  FileDescriptor local;
  Status status = session->join_machine(socket, &local);
  if (!status.ok()) return status;
  say_welcome(socket, session->id());
  session->run_machine(std::move(local), socket, reader);
  return {};
}

Status MigrationListener::welcome_inventory(Socket& socket, const std::string& id) {
  auto session = session_of(id, socket);
  if (!session) return Status::failure(Code::not_found, "no such session");
  Status status = session->join_inventory(socket);
  if (!status.ok()) return status;
  say_welcome(socket, session->id());
  session->run_inventory(socket);
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
  stop_.raise();
  if (acceptor_.joinable()) acceptor_.join();
  std::map<std::string, std::shared_ptr<ReceiverSession>> sessions;
  {
    std::lock_guard lock(mutex_);
    sessions.swap(sessions_);
    for (auto& connection : connections_) {
      if (connection.socket != nullptr) connection.socket->cut();
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
  stop_.close();
}

}  // namespace blockferry
