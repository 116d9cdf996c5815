#include "tunnel/wire.h"

#include <cstring>

namespace blockferry {

namespace {

constexpr uint32_t kTunnelMagic = 0x4246544e;  // "BFTN"
constexpr uint8_t kTunnelVersion = 1;
constexpr uint8_t kGreeting = 0, kTlsWanted = 1;
constexpr size_t kIpv4Header = 20, kIpv6Header = 40;

void put16(uint8_t* at, uint32_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

void put32(uint8_t* at, uint32_t value) {
  put16(at, value >> 16);
  put16(at + 2, value);
}

uint32_t get16(const uint8_t* at) { return static_cast<uint32_t>(at[0]) << 8 | at[1]; }
uint32_t get32(const uint8_t* at) { return get16(at) << 16 | get16(at + 2); }

}  // namespace

void encode_tunnel_greeting(uint32_t number, uint32_t mtu, uint8_t* bytes) {
  put32(bytes, kTunnelMagic);
  bytes[4] = kTunnelVersion;
  bytes[5] = kGreeting;
  put16(bytes + 6, mtu);
  put32(bytes + 8, number);
}

void encode_tls_wanted(uint8_t* bytes) {
  encode_tunnel_greeting(0, 0, bytes);
  bytes[5] = kTlsWanted;
}

Status decode_tunnel_greeting(const uint8_t* bytes, uint32_t number, uint32_t* mtu) {
  if (get32(bytes) != kTunnelMagic) {
    return Status::failure(Code::protocol, "the peer is no end of a tunnel");
  }
  if (bytes[4] != kTunnelVersion) {
    return Status::failure(Code::version,
                           "the other end of the tunnel has version " + std::to_string(bytes[4]));
  }
  if (bytes[5] == kTlsWanted) {
    return Status::failure(Code::tls,
                           "the other site wants TLS: this one was started without keys");
  }
  if (get32(bytes + 8) != number) {
    return Status::failure(Code::refused, "the peer is the end of another tunnel");
  }
  *mtu = get16(bytes + 6);
  if (bytes[5] == kGreeting && *mtu >= kLeastMtu) return {};
  return Status::failure(Code::protocol, "the greeting makes no sense");
}

bool is_ip_packet(const uint8_t* bytes, size_t length) {
  if (length < kIpv4Header) return false;
  int version = bytes[0] >> 4;
  if (version == 4) return get16(bytes + 2) == length;
  return version == 6 && length >= kIpv6Header && get16(bytes + 4) + kIpv6Header == length;
}

PacketBatch::PacketBatch() : buffer_(new uint8_t[kBuffer]) {}

void PacketBatch::add(size_t length) {
  put16(buffer_.get() + size_, static_cast<uint32_t>(length));
  size_ += kPacketHead + length;
  count_++;
}

PacketReader::PacketReader(uint32_t mtu) : buffer_(new uint8_t[kBuffer]), mtu_(mtu) {}

uint8_t* PacketReader::space(size_t* length) {
  memmove(buffer_.get(), buffer_.get() + start_, end_ - start_);
  end_ -= start_;
  start_ = 0;
  *length = kBuffer - end_;
  return buffer_.get() + end_;
}

Status PacketReader::next(const uint8_t** packet, size_t* length) {
  *length = 0;
  if (end_ - start_ < kPacketHead) return {};
  const uint8_t* head = buffer_.get() + start_;
  size_t size = get16(head);
  if (size < kIpv4Header || size > mtu_) {
    return Status::failure(Code::protocol, "a packet of " + std::to_string(size) + " bytes in a " +
                                               "tunnel for " + std::to_string(mtu_));
  }
  if (end_ - start_ < kPacketHead + size) return {};
  if (!is_ip_packet(head + kPacketHead, size)) {
    return Status::failure(Code::protocol, "what came through the tunnel is no packet");
  }
  *packet = head + kPacketHead;
  *length = size;
  start_ += kPacketHead + size;
  return {};
}

}  // namespace blockferry
