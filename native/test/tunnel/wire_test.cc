// What goes over the connection of a user-space tunnel, cut in pieces of every size, and what a
// broken or malicious peer may send instead.
#include "tunnel/wire.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "test/check.h"
#include "test/tunnel/packets.h"

using namespace blockferry;

namespace {

void greetings() {
  uint8_t bytes[kTunnelGreeting];
  uint32_t mtu = 0;
  encode_tunnel_greeting(0xabcdef, 9000, bytes);
  CHECK(decode_tunnel_greeting(bytes, 0xabcdef, &mtu).ok() && mtu == 9000);
  CHECK(decode_tunnel_greeting(bytes, 0xabcdee, &mtu).code == Code::refused);
  for (auto [at, code] : {std::pair{0, Code::protocol},
                          {3, Code::protocol},
                          {4, Code::version},
                          {5, Code::protocol}}) {
    encode_tunnel_greeting(1, 1500, bytes);
    bytes[at] ^= 0x40;
    CHECK(decode_tunnel_greeting(bytes, 1, &mtu).code == code);
  }
  encode_tls_wanted(bytes);
  CHECK(decode_tunnel_greeting(bytes, 1, &mtu).code == Code::tls);
  CHECK(decode_tunnel_greeting(bytes, 0, &mtu).code == Code::tls);
  encode_tunnel_greeting(1, kLeastMtu - 1, bytes);
  CHECK(decode_tunnel_greeting(bytes, 1, &mtu).code == Code::protocol);
}

void packets_are_as_long_as_they_say() {
  for (int version : {4, 6}) {
    for (size_t length : {size_t{40}, size_t{1500}, size_t{65'535}}) {
      Packet packet = make_packet(version, length, 1);
      CHECK(is_ip_packet(packet.data(), length));
      CHECK(!is_ip_packet(packet.data(), length - 1));
    }
  }
  Packet packet = make_packet(4, 100, 1);
  packet[0] = 0x55;
  CHECK(!is_ip_packet(packet.data(), packet.size()));
  Packet tiny = make_packet(6, 40, 1);
  CHECK(!is_ip_packet(tiny.data(), 0) && !is_ip_packet(tiny.data(), 39));
}

// Feeds a stream in pieces of up to `most` bytes and counts the packets, which must be `sent`.
void read_in_pieces(const std::string& stream, const std::vector<Packet>& sent, size_t most) {
  PacketReader reader(65'535);
  size_t at = 0, count = 0;
  while (at < stream.size()) {
    size_t room = 0;
    uint8_t* space = reader.space(&room);
    CHECK(room > 0);
    size_t part = std::min({room, most, stream.size() - at});
    memcpy(space, stream.data() + at, part);
    reader.received(part);
    at += part;
    for (;;) {
      const uint8_t* packet = nullptr;
      size_t length = 0;
      CHECK(reader.next(&packet, &length).ok());
      if (length == 0) break;
      CHECK(count < sent.size() && Packet(packet, packet + length) == sent[count]);
      count++;
    }
  }
  CHECK(count == sent.size());
}

void streams_in_pieces_of_every_size() {
  std::vector<Packet> sent;
  std::string stream;
  PacketBatch batch;
  for (size_t length : {20, 1500, 65'535, 40, 1280, 9000, 65'535, 576}) {
    int version = length >= 40 && sent.size() % 2 == 0 ? 6 : 4;
    sent.push_back(make_packet(version, length, static_cast<uint8_t>(sent.size())));
    if (!batch.has_room()) {
      stream.append(reinterpret_cast<char*>(batch.bytes()), batch.size());
      batch.clear();
    }
    std::copy(sent.back().begin(), sent.back().end(), batch.space());
    batch.add(length);
  }
  stream.append(reinterpret_cast<char*>(batch.bytes()), batch.size());
  for (size_t most : {1, 2, 3, 7, 1499, 1502, 65'537, 1 << 20}) read_in_pieces(stream, sent, most);
}

Status verdict_on(const std::string& stream, uint32_t mtu = 1500) {
  PacketReader reader(mtu);
  size_t room = 0;
  uint8_t* space = reader.space(&room);
  size_t part = std::min(room, stream.size());
  memcpy(space, stream.data(), part);
  reader.received(part);
  for (;;) {
    const uint8_t* packet = nullptr;
    size_t length = 0;
    Status status = reader.next(&packet, &length);
    if (!status.ok() || length == 0) return status;
  }
}

void what_is_no_packet_ends_the_stream() {
  CHECK(verdict_on(framed(make_packet(4, 1500, 0))).ok());
  CHECK(verdict_on(framed(make_packet(4, 1501, 0))).code == Code::protocol);
  CHECK(verdict_on(std::string("\0\0", 2)).code == Code::protocol);
  CHECK(verdict_on(std::string("\xff\xff", 2)).code == Code::protocol);
  CHECK(verdict_on("GET / HTTP/1.1\r\n\r\n").code == Code::protocol);
  Packet lies = make_packet(6, 1000, 0);
  lies[5]++;
  CHECK(verdict_on(framed(lies)).code == Code::protocol);
}

// Any bytes: they are taken or refused, and nothing outside of the buffers is touched.
void noise() {
  std::mt19937 random(1);
  for (int round = 0; round < 20'000; round++) {
    std::string stream(random() % 300, '\0');
    for (char& byte : stream) byte = static_cast<char>(random());
    if (round % 2 == 0 && stream.size() > 8) {
      stream = framed(make_packet(4, 20 + random() % 1480, 0)) + stream;
    }
    (void)verdict_on(stream);
  }
}

}  // namespace

int main() {
  RUN(greetings());
  RUN(packets_are_as_long_as_they_say());
  RUN(streams_in_pieces_of_every_size());
  RUN(what_is_no_packet_ends_the_stream());
  RUN(noise());
}
