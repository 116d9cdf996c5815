// What the destination is known to hold, by block hashes.
#pragma once

#include "tracking/dirty_map.h"

namespace blockferry {

class PeerHashes {
 public:
  explicit PeerHashes(uint64_t blocks) : hashes_(blocks) {}
  void set(uint64_t block, uint64_t hash) { store(block, hash); }
  bool is(uint64_t block, uint64_t hash) const {
    return hash != kUnknown && hashes_[block].load(std::memory_order_relaxed) == hash;
  }
  bool all_zero(BlockRange range) const {
    for (uint64_t block = range.first; block < range.end(); block++) {
      if (!is(block, 0)) return false;
    }
    return true;
  }
  // Something else was sent there: what the destination held no longer counts.
  void forget(BlockRange range) {
    for (uint64_t block = range.first; block < range.end(); block++) store(block, kUnknown);
  }

 private:
  // A block whose hash is really this is sent, which does no harm.
  static constexpr uint64_t kUnknown = 1;
  void store(uint64_t block, uint64_t hash) {
    if (hashes_[block].load(std::memory_order_relaxed) == hash) return;
    hashes_[block].store(hash, std::memory_order_relaxed);
  }

  LazyWords hashes_;
};

}  // namespace blockferry
