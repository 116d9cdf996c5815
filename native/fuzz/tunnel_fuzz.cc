// What comes through a tunnel in user space: its greeting, then packets, in pieces of any size.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "tunnel/wire.h"

using namespace blockferry;

namespace {

void read_packets(FuzzedDataProvider& input, uint32_t mtu) {
  PacketReader reader(mtu);
  while (input.remaining_bytes() > 0) {
    std::string piece = input.ConsumeBytesAsString(input.ConsumeIntegralInRange(1, 4096));
    size_t room;
    uint8_t* space = reader.space(&room);
    if (room < piece.size()) abort();  // as long as next() is asked there is room
    memcpy(space, piece.data(), piece.size());
    reader.received(piece.size());
    for (;;) {
      const uint8_t* packet = nullptr;
      size_t length = 0;
      if (!reader.next(&packet, &length).ok()) return;
      if (length == 0) break;
      if (length > mtu || !is_ip_packet(packet, length)) abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  uint8_t greeting[kTunnelGreeting];
  uint32_t number = input.ConsumeIntegralInRange(0, 3), mtu = 0;
  encode_tunnel_greeting(1, input.ConsumeIntegral<uint16_t>(), greeting);
  greeting[input.ConsumeIntegralInRange<size_t>(0, kTunnelGreeting - 1)] ^=
      input.ConsumeIntegral<uint8_t>();
  if (!decode_tunnel_greeting(greeting, number, &mtu).ok()) mtu = kLeastMtu;
  if (mtu < kLeastMtu || mtu > kMostMtu) abort();
  read_packets(input, mtu);
  return 0;
}
