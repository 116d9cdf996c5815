// The receiver's port: greets every connection, makes a session of a control connection, and
// hands data connections to their session.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "base/stop_signal.h"
#include "net/listen_socket.h"
#include "net/numeric_address.h"
#include "net/trust.h"
#include "receive/session.h"

namespace blockferry {

struct MigrationListenerOptions {
  uint32_t max_sessions = 64;
  // Connections that have not greeted yet: strangers. Each costs a thread and up to 100 KiB. When
  // there are as many, the next one takes the place of the longest wait among those from the
  // network that has the most: strangers can't keep out who comes from elsewhere, and who is quick
  // gets through even from among them.
  uint32_t max_greeting = 64;
  uint32_t greeting_timeout_ms = 10'000;  // for all of it, TLS's handshake included
  uint32_t link_timeout_ms = 20'000;
  Trust trust;
};

// A connection that got no further than its greeting.
struct Refusal {
  PeerAddress peer;
  Status why;
};

class MigrationListener {
 public:
  using OnSession = std::function<void(std::shared_ptr<ReceiverSession>)>;
  // From any thread of the listener's; not from within close().
  using OnRefused = std::function<void(Refusal)>;

  MigrationListener(MigrationListenerOptions options, OnSession on_session, OnRefused on_refused);
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
    PeerAddress peer;
    std::string network;       // where it comes from
    Socket* socket = nullptr;  // while the connection's thread owns it
    bool greeting = true;
    bool displaced = false;  // by one that came later
    bool done = false;
  };

  void accept_connections();
  void take(FileDescriptor socket);
  Status make_room();
  Connection* longest_of_the_most();
  Status start_connection(FileDescriptor fd, const PeerAddress& peer);
  void refuse(const PeerAddress& peer, const Status& why);
  void serve(Connection& connection, std::unique_ptr<Socket> socket);
  Status greet(Socket& socket, std::unique_ptr<FrameReader>* reader, std::string* hello);
  void greeted(Connection& connection);
  Status welcome(Connection& connection, std::unique_ptr<Socket>& socket, FrameReader& reader,
                 const std::string& hello);
  Status welcome_control(Connection& connection, std::unique_ptr<Socket>& socket,
                         FrameReader& reader);
  std::shared_ptr<ReceiverSession> session_of(const std::string& id, const Socket& socket);
  Status welcome_machine(Socket& socket, FrameReader& reader, const std::string& id);
  Status welcome_inventory(Socket& socket, const std::string& id);
  Status welcome_data(Socket& socket, FrameReader& reader, const std::string& hello);
  void reap_connections();

  MigrationListenerOptions options_;
  OnSession on_session_;
  OnRefused on_refused_;
  ListenSocket socket_;
  StopSignal stop_;
  std::thread acceptor_;
  std::mutex close_mutex_;        // a second close() waits for the first
  std::mutex mutex_;              // what follows
  std::condition_variable room_;  // greeting_ has become less
  uint32_t greeting_ = 0;
  std::map<std::string, std::shared_ptr<ReceiverSession>> sessions_;
  std::list<Connection> connections_;
};

}  // namespace blockferry
