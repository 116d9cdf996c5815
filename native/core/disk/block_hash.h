// Block hashes: XXH3-64 of each block's bytes, 0 for a block of zeroes. One pass gives what the
// frame's check, the zero detection and the disk's digest need.
#pragma once

#include <cstdint>

namespace blockferry {

inline constexpr uint64_t kZeroBlock = 0;

bool is_zero(const uint8_t* bytes, uint64_t length);

// Hashes the blocks of `length` bytes (the last may be partial) into `hashes`.
void hash_blocks(const uint8_t* bytes, uint64_t length, uint32_t block_size, uint64_t* hashes);

// The check of a frame over its block hashes.
uint64_t check_of(const uint64_t* hashes, uint64_t count, uint64_t offset);

// What one block adds to the digest of its disk: the digest is the sum over all blocks, so that
// it can be kept up to date block by block. Zero blocks add nothing.
inline uint64_t digest_term(uint64_t block, uint64_t hash) {
  if (hash == kZeroBlock) return 0;
  // splitmix64's finaliser over hash and position: equal blocks count differently elsewhere.
  uint64_t x = hash + (block + 1) * 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

}  // namespace blockferry
