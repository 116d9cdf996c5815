// A hash per block, zeroes (kZeroBlock) at first. What only ever held zeroes costs neither memory nor
// time: a bit says of each group of blocks that one of them may have another hash.
//
// A block is changed by one thread at a time; others may look at it meanwhile.
#pragma once

#include "base/lazy_words.h"
#include "tracking/dirty_map.h"

namespace blockferry {

class HashArray {
 public:
  // Throws std::bad_alloc when the address space is not to be had.
  explicit HashArray(uint64_t blocks) : HashArray(nullptr, blocks, false) {}
  // In `blocks` words that somebody else owns; null stands for memory of its own. `known`: they may
  // hold anything, else they are zeroes.
  HashArray(Word* words, uint64_t blocks, bool known);

  uint64_t size() const { return hashes_.size(); }
  uint64_t get(uint64_t block) const { return hashes_[block].load(std::memory_order_relaxed); }
  void set(uint64_t block, uint64_t hash);
  // The first block of the range whose hash is not that of zeroes, or its end.
  uint64_t zeroes_until(BlockRange range) const;
  bool all_zero(BlockRange range) const { return zeroes_until(range) == range.end(); }

 private:
  LazyWords hashes_;
  LazyWords groups_;  // a bit per group
};

}  // namespace blockferry
