#include "disk/block_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>

// xxHash's choice by processor (AVX2, AVX-512), which some builds of the library leave out.
extern "C" XXH64_hash_t XXH3_64bits_dispatch(const void*, size_t) __attribute__((weak));

namespace blockferry {

namespace {

const auto hash_bytes = XXH3_64bits_dispatch ? XXH3_64bits_dispatch : XXH3_64bits;

}  // namespace

bool is_zero(const uint8_t* bytes, uint64_t length) {
  if (length == 0) return true;
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

void hash_blocks(const uint8_t* bytes, uint64_t length, uint32_t block_size, uint64_t* hashes) {
  for (uint64_t at = 0; at < length; at += block_size) {
    uint64_t part = std::min<uint64_t>(block_size, length - at);
    if (is_zero(bytes + at, part)) {
      *hashes++ = kZeroBlock;
      continue;
    }
    // A hash of 0 means zeroes: the one content in 2^64 that hashes to it takes another value.
    *hashes++ = std::max<uint64_t>(hash_bytes(bytes + at, part), 1);
  }
}

uint64_t check_of(const uint64_t* hashes, uint64_t count, uint64_t offset) {
  return XXH3_64bits_withSeed(hashes, count * sizeof(uint64_t), offset);
}

}  // namespace blockferry
