// Two ends of a user-space tunnel over the loopback, with socket pairs for their devices: packets
// both ways, plain and with TLS; a connection that is lost comes back; strangers and broken peers.
// sanitizers: address, thread
#include "net/numeric_address.h"
#include "tunnel/tunnel.h"

#include <atomic>
#include <thread>

#include "test/net/tls_peers.h"
#include "test/tunnel/packets.h"

using namespace blockferry;

namespace {

// One write or read is one packet, as with a TUN device.
struct Device : PacketDevice {
  explicit Device(FileDescriptor end, std::atomic<uint32_t>* mtu) : end(std::move(end)), mtu(mtu) {}
  int fd() const override { return end.get(); }
  Status set_mtu(uint32_t value) override {
    *mtu = value;
    return {};
  }
  FileDescriptor end;
  std::atomic<uint32_t>* mtu;
};

struct Options {
  std::shared_ptr<const TlsCredentials> tls;
  uint32_t mtu = 1500, number = 7;
  std::string local = "127.0.0.1", remote = "127.0.0.1";
};

struct End {
  End(bool listens, uint16_t port, Options options = {}) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    host.reset(fds[0]);
    TunnelOptions all;
    all.address = {options.local, options.remote, port, 2000};
    all.listens = listens;
    all.number = options.number;
    all.mtu = options.mtu;
    all.greeting_timeout_ms = 1000;
    all.tls = options.tls;
    tunnel = std::make_unique<Tunnel>(all, std::make_unique<Device>(FileDescriptor(fds[1]), &mtu),
                                      [this](bool up, const Status&) { (up ? ups : downs)++; });
    CHECK(tunnel->start().ok());
  }

  // What the host sends into the device until it comes out at the other end, again and again: a
  // packet may get lost.
  void send_until_seen(End& other, const Packet& packet) {
    for (int tries = 0; tries < 1000; tries++) {
      (void)!write(host.get(), packet.data(), packet.size());
      pollfd wait{other.host.get(), POLLIN, 0};
      if (poll(&wait, 1, 20) <= 0) continue;
      Packet got(65'535);
      ssize_t length = read(other.host.get(), got.data(), got.size());
      CHECK(length > 0);
      got.resize(static_cast<size_t>(length));
      if (got == packet) return;
    }
    CHECK(!"the packet has not arrived");
  }

  FileDescriptor host;
  std::atomic<uint32_t> mtu{0};
  std::atomic<int> ups{0}, downs{0};
  std::unique_ptr<Tunnel> tunnel;
};

FileDescriptor connect_from(const std::string& address, uint16_t port) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  SocketAddress from, to;
  CHECK(parse_address(address, 0, &from).ok() && parse_address("127.0.0.1", port, &to).ok());
  CHECK(bind(fd.get(), from.get(), from.length) == 0);
  CHECK(connect(fd.get(), to.get(), to.length) == 0);
  return fd;
}

// What came before the end of the connection.
std::string read_to_end(int fd) {
  std::string all;
  char bytes[4096];
  for (;;) {
    ssize_t count = recv(fd, bytes, sizeof bytes, 0);
    if (count <= 0) return all;
    all.append(bytes, static_cast<size_t>(count));
  }
}

void packets_go_both_ways(const Options& options) {
  End listener(true, 0, options);
  End dialer(false, listener.tunnel->port(), options);
  CHECK(dialer.tunnel->wait_connected(10'000).ok());
  CHECK(listener.tunnel->wait_connected(10'000).ok());
  for (size_t length : {40, 1000, 1500}) {
    dialer.send_until_seen(listener, make_packet(4, length, 1));
    listener.send_until_seen(dialer, make_packet(6, length, 2));
  }
  // They are counted once they are on their way.
  while (dialer.tunnel->stats().received < 3) std::this_thread::yield();
  while (dialer.tunnel->stats().sent < 3) std::this_thread::yield();
}

void plain() { packets_go_both_ways({}); }

void ipv6() {
  Options options;
  options.local = options.remote = "::1";
  packets_go_both_ways(options);
}

void with_tls() {
  Options options;
  options.tls = psk_credentials("site", kKey);
  packets_go_both_ways(options);
}

// Much more than all buffers hold, from a host that does not wait: what is too much is dropped,
// and what arrives is what was sent.
void a_flood_is_dropped_in_part() {
  End listener(true, 0);
  End dialer(false, listener.tunnel->port());
  CHECK(dialer.tunnel->wait_connected(10'000).ok());
  std::atomic<bool> over{false};
  std::thread flood([&] {
    Packet packet = make_packet(4, 1500, 9);
    while (!over) (void)!write(dialer.host.get(), packet.data(), packet.size());
  });
  for (int count = 0; count < 5000;) {
    uint8_t bytes[2000];
    ssize_t length = read(listener.host.get(), bytes, sizeof bytes);
    if (length > 0) CHECK(length == 1500 && bytes[1499] == 9 && ++count > 0);
  }
  over = true;
  flood.join();
}

void the_smaller_mtu_counts() {
  Options narrow;
  narrow.mtu = 1400;
  End listener(true, 0, narrow);
  End dialer(false, listener.tunnel->port());
  CHECK(dialer.tunnel->wait_connected(10'000).ok());
  CHECK(dialer.mtu == 1400 && listener.mtu == 0);
  Packet large = make_packet(4, 1401, 0);
  CHECK(write(dialer.host.get(), large.data(), large.size()) == 1401);
  dialer.send_until_seen(listener, make_packet(4, 1400, 0));
  CHECK(dialer.tunnel->stats().dropped >= 1);
  CHECK(dialer.tunnel->stats().connections == 1);
}

// Whoever is told that there is a connection finds it in the count.
void a_connection_is_counted_before_it_is_told_of() {
  for (int round = 0; round < 100; round++) {
    End listener(true, 0);
    End dialer(false, listener.tunnel->port());
    CHECK(dialer.tunnel->wait_connected(10'000).ok());
    CHECK(dialer.tunnel->stats().connections == 1);
    CHECK(listener.tunnel->wait_connected(10'000).ok());
    CHECK(listener.tunnel->stats().connections == 1);
  }
}

void a_connection_comes_back() {
  auto listener = std::make_unique<End>(true, uint16_t{0});
  uint16_t port = listener->tunnel->port();
  End dialer(false, port);
  dialer.send_until_seen(*listener, make_packet(4, 100, 1));
  listener.reset();
  Packet lost = make_packet(4, 100, 2);
  CHECK(write(dialer.host.get(), lost.data(), lost.size()) == 100);
  End again(true, port);
  dialer.send_until_seen(again, make_packet(4, 100, 3));
  again.send_until_seen(dialer, make_packet(4, 100, 4));
  CHECK(dialer.tunnel->stats().connections == 2);
}

// The other site was started anew, and its old connection was not seen to end.
void the_newest_connection_counts() {
  End listener(true, 0);
  End first(false, listener.tunnel->port());
  CHECK(first.tunnel->wait_connected(10'000).ok());
  FileDescriptor second = connect_from("127.0.0.1", listener.tunnel->port());
  uint8_t greeting[kTunnelGreeting];
  encode_tunnel_greeting(7, 1500, greeting);
  CHECK(send(second.get(), greeting, sizeof greeting, 0) == kTunnelGreeting);
  CHECK(recv(second.get(), greeting, sizeof greeting, MSG_WAITALL) == kTunnelGreeting);
  while (listener.tunnel->stats().connections < 2) std::this_thread::yield();
}

void strangers() {
  End listener(true, 0);
  uint16_t port = listener.tunnel->port();
  FileDescriptor elsewhere = connect_from("127.0.0.2", port);
  CHECK(read_to_end(elsewhere.get()).empty());
  std::vector<FileDescriptor> silent;
  for (int i = 0; i < 50; i++) silent.push_back(connect_from("127.0.0.1", port));
  for (const char* words : {"GET / HTTP/1.1\r\n\r\n", "BFTN\1\0\5\xdc\0\0\0\1xxxx"}) {
    FileDescriptor fd = connect_from("127.0.0.1", port);
    CHECK(send(fd.get(), words, 16, 0) == 16);
    CHECK(read_to_end(fd.get()).size() <= kTunnelGreeting);
  }
  End dialer(false, port);
  dialer.send_until_seen(listener, make_packet(4, 100, 1));
  CHECK(listener.tunnel->stats().connections == 1);
}

// A peer that greets and then sends what is no packet loses its connection, and that is all.
void a_peer_that_breaks_the_protocol() {
  End listener(true, 0);
  uint16_t port = listener.tunnel->port();
  for (const std::string& bytes : {framed(make_packet(4, 1501, 0)), std::string(4000, 'x'),
                                   std::string(4000, '\0'), framed(Packet(100, 0x61))}) {
    FileDescriptor fd = connect_from("127.0.0.1", port);
    uint8_t greeting[kTunnelGreeting];
    encode_tunnel_greeting(7, 1500, greeting);
    CHECK(send(fd.get(), greeting, sizeof greeting, 0) == kTunnelGreeting);
    CHECK(send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0);
    CHECK(read_to_end(fd.get()).size() <= kTunnelGreeting);
  }
  uint8_t byte;
  CHECK(read(listener.host.get(), &byte, 1) < 0);
  End dialer(false, port);
  dialer.send_until_seen(listener, make_packet(4, 100, 1));
}

void it_says_why_it_does_not_connect() {
  Options ours, other_key, other_number;
  ours.tls = psk_credentials("site", kKey);
  other_key.tls = psk_credentials("site", kOtherKey);
  End listener(true, 0, ours);
  uint16_t port = listener.tunnel->port();
  CHECK(End(false, port, other_key).tunnel->wait_connected(20'000).code == Code::unauthorized);
  CHECK(End(false, port).tunnel->wait_connected(20'000).code == Code::tls);
  End plain(true, 0);
  CHECK(End(false, plain.tunnel->port(), ours).tunnel->wait_connected(20'000).code == Code::tls);
  other_number.number = 8;
  uint16_t other_port = plain.tunnel->port();
  CHECK(End(false, other_port, other_number).tunnel->wait_connected(20'000).code == Code::refused);
  CHECK(End(false, 1).tunnel->wait_connected(300).code == Code::unreachable);
  CHECK(End(true, 0).tunnel->wait_connected(1).code == Code::timeout);
}

void a_device_that_goes_ends_it() {
  End listener(true, 0);
  End dialer(false, listener.tunnel->port());
  dialer.send_until_seen(listener, make_packet(4, 100, 1));
  dialer.host.reset();
  while (dialer.downs == 0) std::this_thread::yield();
  while (listener.downs == 0) std::this_thread::yield();
  dialer.tunnel->close();
  dialer.tunnel->close();
}

}  // namespace

int main() {
  RUN(plain());
  RUN(ipv6());
  if (TlsCredentials::supported()) RUN(with_tls());
  RUN(a_flood_is_dropped_in_part());
  RUN(the_smaller_mtu_counts());
  RUN(a_connection_is_counted_before_it_is_told_of());
  RUN(a_connection_comes_back());
  RUN(the_newest_connection_counts());
  RUN(strangers());
  RUN(a_peer_that_breaks_the_protocol());
  if (TlsCredentials::supported()) RUN(it_says_why_it_does_not_connect());
  RUN(a_device_that_goes_ends_it());
}
