// The receiver's port: greets every connection, makes a session of a control connection, and
// hands data connections to their session.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "listen_socket.h"
#include "receiver_session.h"

namespace blockferry {

struct MigrationListenerOptions {
  uint32_t max_sessions = 64;
  uint32_t max_greeting = 64;            // connections that have not greeted yet
  uint32_t greeting_timeout_ms = 10'000;
  uint32_t link_timeout_ms = 20'000;
};

class MigrationListener {
 public:
  using OnSession = std::function<void(std::shared_ptr<ReceiverSession>)>;

  MigrationListener(MigrationListenerOptions options, OnSession on_session);
  ~MigrationListener() { close(); }

  Status listen(const std::string& host, uint16_t port);
  const ListenAddress& bound() const { return socket_.bound(); }
  // The session was closed: its name is free and so is its place.
  void forget(const std::string& id);
  // Stops listening, closes every session, waits for the threads. Idempotent.
  void close();

 private:
  struct Connection {
    std::thread thread;
    int fd = -1;
    bool done = false;
  };

  void accept_connections();
  void start_connection(FileDescriptor socket);
  void serve(Connection& connection, FileDescriptor socket);
  Status greet(FrameReader& reader, std::string* hello);
  Status welcome_control(Connection& connection, FileDescriptor& socket, FrameReader& reader);
  std::shared_ptr<ReceiverSession> session_of(const std::string& id);
  Status welcome_machine(FileDescriptor& socket, FrameReader& reader, const std::string& id);
  Status welcome_inventory(FileDescriptor& socket, const std::string& id);
  Status welcome_data(FileDescriptor& socket, FrameReader& reader, const std::string& hello);
  void reap_connections();

  MigrationListenerOptions options_;
  OnSession on_session_;
  ListenSocket socket_;
  FileDescriptor wake_;  // an eventfd: close() was called
  std::thread acceptor_;
  std::atomic<bool> stop_{false};
  std::atomic<uint32_t> greeting_{0};
  std::mutex close_mutex_;  // a second close() waits for the first
  std::mutex mutex_;  // sessions_, connections_
  std::map<std::string, std::shared_ptr<ReceiverSession>> sessions_;
  std::list<Connection> connections_;
};

}  // namespace blockferry
