// IP packets for the tests of tunnels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace blockferry {

using Packet = std::vector<uint8_t>;

// As far as a tunnel looks at it; `content` fills it.
inline Packet make_packet(int version, size_t length, uint8_t content) {
  Packet packet(length, content);
  packet[0] = static_cast<uint8_t>(version << 4);
  size_t said = version == 4 ? length : length - 40;
  size_t at = version == 4 ? 2 : 4;
  packet[at] = static_cast<uint8_t>(said >> 8);
  packet[at + 1] = static_cast<uint8_t>(said);
  return packet;
}

// Behind its length, as in a tunnel's stream.
inline std::string framed(const Packet& packet) {
  std::string bytes{static_cast<char>(packet.size() >> 8), static_cast<char>(packet.size())};
  return bytes.append(packet.begin(), packet.end());
}

}  // namespace blockferry
