// One end of a user-space tunnel: carries the packets of a device over a connection to the other
// end, and back.
//
//   device → (its thread) → the newest connection        connection → (its thread) → device
//
// Packets that come while there is no connection are dropped, as on a link that is cut. What waits
// does so in the device's own queue in the kernel, which is short and drops what is too much, and
// in a socket that holds little unsent. A connection that greets takes the place of the one before:
// its end may not have been noticed here yet.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "net/tls_credentials.h"
#include "tunnel/end.h"
#include "tunnel/packet_device.h"
#include "tunnel/wire.h"

namespace blockferry {

struct TunnelOptions {
  TunnelAddress address;
  bool listens = false;
  uint32_t number = 0;  // the same at both ends
  uint32_t mtu = 1500;  // of the device; the smaller one of both ends is set on both
  uint32_t greeting_timeout_ms = 5'000;       // with TLS's handshake
  std::shared_ptr<const TlsCredentials> tls;  // null: plain TCP
};

struct TunnelStats {
  uint64_t connections = 0;                      // that greeted, so far
  uint64_t sent = 0, received = 0, dropped = 0;  // packets
};

class Tunnel {
 public:
  // A connection has come or, with a reason, gone. On a thread of the tunnel.
  using OnChange = std::function<void(bool up, const Status& why)>;

  Tunnel(TunnelOptions options, std::unique_ptr<PacketDevice> device, OnChange on_change);
  ~Tunnel() { close(); }

  // Fails as ListenSocket::open(), and when no threads are to be had; it is closed then.
  Status start();
  // Waits for the first connection. The reason of the last failure when there is none in time, or
  // at once when another attempt won't help (a wrong key, a peer that is something else).
  Status wait_connected(uint32_t timeout_ms);
  TunnelStats stats() const;
  uint16_t port() const { return end_->port(); }
  // Waits for the threads. Idempotent.
  void close();

 private:
  void serve(const std::shared_ptr<Socket>& socket, const std::function<void()>& greeted);
  Status greet(Socket& socket, uint32_t* mtu);
  void install(const std::shared_ptr<Socket>& socket, uint32_t mtu);
  void uninstall(const std::shared_ptr<Socket>& socket, const Status& why);
  void note(const Status& failure);
  Status receive_packets(Socket& socket, uint32_t mtu);
  void deliver(const uint8_t* packet, size_t length);
  void send_packets();
  Status send_from_device();
  void read_packets(PacketBatch& batch);
  void send(PacketBatch& batch);

  TunnelOptions options_;
  std::unique_ptr<PacketDevice> device_;
  OnChange on_change_;
  std::unique_ptr<TunnelEnd> end_;
  StopSignal stop_;
  std::thread sender_;
  std::mutex close_mutex_;  // a second close() waits for the first
  std::atomic<uint64_t> connections_{0}, sent_{0}, received_{0}, dropped_{0};
  std::atomic<uint32_t> mtu_;  // of the device now

  std::mutex mutex_;  // what follows
  std::condition_variable changed_;
  std::shared_ptr<Socket> current_;
  Status failure_;
};

}  // namespace blockferry
