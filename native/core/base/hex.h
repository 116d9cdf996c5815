// Bytes as text.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace blockferry {

// Two lower-case digits for each byte.
inline std::string to_hex(std::span<const uint8_t> bytes) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

}  // namespace blockferry
