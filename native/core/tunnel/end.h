// How the two ends of a user-space tunnel come to a connection: the new site listens, the old one
// connects, again and again.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/stop_signal.h"
#include "net/listen_socket.h"
#include "net/socket.h"

namespace blockferry {

// Numeric addresses of the two hosts; the port is the listening one's (0: any, for tests).
struct TunnelAddress {
  std::string local, remote;
  uint16_t port = 0;
  uint32_t link_timeout_ms = 10'000;  // a peer that says nothing, and acknowledges nothing, is gone
};

// Bytes that may wait in a socket: what is more waits, and is dropped, in the device's queue.
inline constexpr int kTunnelUnsent = 128 << 10;

class TunnelEnd {
 public:
  // Serves a connection to its end, on the calling thread; `greeted`: the peer is the other end.
  using Serve = std::function<void(const std::shared_ptr<Socket>&, const std::function<void()>&)>;

  virtual ~TunnelEnd() = default;
  virtual Status start() = 0;
  // Cuts the connections and waits for the threads. Idempotent.
  virtual void stop() = 0;
  // Where it listens; 0 for who connects.
  virtual uint16_t port() const = 0;
};

// Takes connections from the other site's address alone. Of those that have not greeted a few are
// kept, each with a thread; one more takes the place of the longest wait. So who comes to the port
// from elsewhere costs nothing, and who sits there from the other site's host keeps nobody out.
class TunnelListener : public TunnelEnd {
 public:
  TunnelListener(TunnelAddress address, Serve serve);
  ~TunnelListener() override { stop(); }
  Status start() override;
  void stop() override;
  uint16_t port() const override { return socket_.bound().port; }

 private:
  struct Connection {
    std::shared_ptr<Socket> socket;
    std::thread thread;
    bool greeting = true;
    bool done = false;
  };

  void accept_connections();
  Status take(FileDescriptor fd);
  void serve(Connection& connection);
  void make_room();
  void reap(bool all);

  TunnelAddress address_;
  Serve serve_;
  StopSignal stop_;
  ListenSocket socket_;
  std::thread acceptor_;
  std::mutex mutex_;  // connections_: what is in them; the list itself is the acceptor's
  std::list<Connection> connections_;
};

// Connects from the local address, and again when the connection is lost: at once, then after
// pauses that double.
class TunnelDialer : public TunnelEnd {
 public:
  // `failed`: an attempt came to nothing.
  TunnelDialer(TunnelAddress address, Serve serve, std::function<void(const Status&)> failed);
  ~TunnelDialer() override { stop(); }
  Status start() override;
  void stop() override;
  uint16_t port() const override { return 0; }

 private:
  void run();
  bool attempt();
  Status connect(FileDescriptor* fd);

  TunnelAddress address_;
  Serve serve_;
  std::function<void(const Status&)> failed_;
  StopSignal stop_;
  std::thread thread_;
  std::mutex mutex_;  // socket_
  std::shared_ptr<Socket> socket_;
};

}  // namespace blockferry
