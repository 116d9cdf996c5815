// What the destination is known to hold, by block hashes.
#pragma once

#include "tracking/hash_array.h"

namespace blockferry {

class PeerHashes {
 public:
  PeerHashes(uint64_t size, uint32_t block_size)
      : hashes_((size + block_size - 1) / block_size), known_(size, block_size) {}
  void set(BlockRange range, const uint64_t* hashes) {
    for (uint64_t i = 0; i < range.count; i++) hashes_.set(range.first + i, hashes[i]);
    known_.mark_blocks(range);
  }
  // Once: they hold nothing else yet.
  void set_zeroes(BlockRange range) { known_.mark_blocks(range); }
  bool is(uint64_t block, uint64_t hash) const {
    return hashes_.get(block) == hash && known_.test(block);
  }
  // It was told to hold so, at first.
  bool held(uint64_t block, uint64_t hash) const { return hashes_.get(block) == hash; }
  bool all_zero(BlockRange range) const { return hashes_.all_zero(range) && known_.covers(range); }
  // Something else was sent there: what the destination held no longer counts.
  void forget(BlockRange range) { known_.clear_blocks(range); }

 private:
  HashArray hashes_;
  DirtyMap known_;  // a bit per block: its hash counts
};

}  // namespace blockferry
