// The source's Unix socket that a hypervisor sends a machine's memory to. Every connection to it
// becomes one to the destination.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

#include "base/stop_signal.h"
#include "memory/machine_relay.h"
#include "net/listen_socket.h"

namespace blockferry {

struct MachineStats {
  uint64_t content_bytes = 0;       // taken from the hypervisor, ever
  uint64_t wire_bytes = 0;          // framed for the wire, ever
  uint64_t acknowledged_bytes = 0;  // by the peer's TCP, ever
  uint64_t in_flight_bytes = 0;
  uint64_t connections = 0;  // open now
};

class MachinePort {
 public:
  // A connection to the destination, greeted; `reader` has what came behind the greeting.
  using Connect =
      std::function<Status(std::unique_ptr<Socket>* socket, std::unique_ptr<FrameReader>*)>;
  using Failed = std::function<void(Status)>;

  MachinePort(RelayLimits& limits, Connect connect, Failed failed);
  ~MachinePort() { close(); }
  Status open(const std::string& path);
  MachineStats stats() const;
  // Ends the connections and waits for the threads. Idempotent.
  void close();

 private:
  struct Connection {
    std::thread thread;
    std::unique_ptr<Socket> peer;
    std::unique_ptr<FrameReader> reader;
    std::unique_ptr<MachineRelay> relay;
    bool done = false;
  };

  void accept_connections();
  Status start_relay(FileDescriptor local);
  void run_relay(Connection& connection);
  void fail(Status status);

  RelayLimits& limits_;
  Connect connect_;
  Failed failed_;
  RelayCounters counters_;
  ListenSocket socket_;
  StopSignal stop_;
  std::thread acceptor_;
  mutable std::mutex mutex_;  // connections_, ended_bytes_
  std::list<Connection> connections_;
  uint64_t ended_bytes_ = 0;  // acknowledged on connections that have ended
};

}  // namespace blockferry
