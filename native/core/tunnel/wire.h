// What goes over the connection of a user-space tunnel: a greeting from each side, then packets.
// Big endian, as in the packets themselves.
//
//   greeting   0 u32 magic "BFTN"   4 u8 version   5 u8 kind   6 u16 MTU   8 u32 tunnel's number
//   packet     0 u16 length         2 an IP packet, whose own header has the same length
//
// The version byte stays at its place in every version. The smaller MTU of both sides counts. The
// kind is 0, or 1 from a listener that takes nothing but TLS to a peer that came without.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/status.h"

namespace blockferry {

inline constexpr size_t kTunnelGreeting = 12;
inline constexpr size_t kPacketHead = 2;
// The least that IPv6 must be able to carry, and the most that a length can say.
inline constexpr uint32_t kLeastMtu = 1280, kMostMtu = 65'535;

void encode_tunnel_greeting(uint32_t number, uint32_t mtu, uint8_t* bytes);
// What a listener with keys answers a peer without.
void encode_tls_wanted(uint8_t* bytes);
// Code::protocol (no such greeting, an MTU out of range), Code::version, Code::refused (the
// peer's tunnel is another one), or Code::tls (it wants TLS).
Status decode_tunnel_greeting(const uint8_t* bytes, uint32_t number, uint32_t* mtu);

// Whether it is an IPv4 or IPv6 packet as long as its header says.
bool is_ip_packet(const uint8_t* bytes, size_t length);

// Packets that are sent together, in a buffer of fixed size.
class PacketBatch {
 public:
  PacketBatch();
  void clear() { size_ = count_ = 0; }
  // Whether there is room for one more packet of any length.
  bool has_room() const { return size_ + kPacketHead + kMostMtu <= kBuffer; }
  // For the next packet: kMostMtu bytes.
  uint8_t* space() { return buffer_.get() + size_ + kPacketHead; }
  // It was written there.
  void add(size_t length);

  uint8_t* bytes() { return buffer_.get(); }
  size_t size() const { return size_; }
  size_t count() const { return count_; }

 private:
  static constexpr size_t kBuffer = 128 << 10;
  std::unique_ptr<uint8_t[]> buffer_;
  size_t size_ = 0, count_ = 0;
};

// Finds the packets in what was received. Whatever comes, it holds one buffer of fixed size.
class PacketReader {
 public:
  explicit PacketReader(uint32_t mtu);
  // Where to receive, at least 1 byte; to be called when next() has no more.
  uint8_t* space(size_t* length);
  void received(size_t length) { end_ += length; }
  // The next packet, valid until space(); *length is 0 when it has not come as a whole.
  // Code::protocol for what is no packet, or one larger than the MTU: the stream is of no use then.
  Status next(const uint8_t** packet, size_t* length);

 private:
  static constexpr size_t kBuffer = 128 << 10;
  std::unique_ptr<uint8_t[]> buffer_;
  uint32_t mtu_;
  size_t start_ = 0, end_ = 0;
};

}  // namespace blockferry
