// A hash per block, zeroes (kZeroBlock) at first. What only ever held zeroes costs neither memory nor
// time: a bit says of each group of blocks that one of them may have another hash.
//
// A block is changed by one thread at a time; others may look at it meanwhile.
#pragma once

#include <functional>
#include <mutex>

#include "base/lazy_words.h"
#include "tracking/dirty_map.h"

namespace blockferry {

class HashArray {
 public:
  // Throws std::bad_alloc when the address space is not to be had.
  explicit HashArray(uint64_t blocks) : HashArray(nullptr, blocks, nullptr) {}
  // In `blocks` words that somebody else owns, zeroes but for what may_hold() says; null stands for
  // memory of its own. `back` is called before something else is put into a group, its blocks.
  HashArray(Word* words, uint64_t blocks, std::function<void(BlockRange)> back);
  static constexpr uint64_t kGroup = 512;  // blocks, whose hashes fill a page of memory
  // Before anything else: these may hold anything, and are backed.
  void may_hold(BlockRange range);

  uint64_t size() const { return hashes_.size(); }
  uint64_t get(uint64_t block) const { return hashes_[block].load(std::memory_order_relaxed); }
  void set(uint64_t block, uint64_t hash);
  // The first block of the range whose hash is not that of zeroes, or its end.
  uint64_t zeroes_until(BlockRange range) const;
  bool all_zero(BlockRange range) const { return zeroes_until(range) == range.end(); }

 private:
  void begin_group(uint64_t group);

  LazyWords hashes_;
  LazyWords groups_;  // a bit per group
  std::function<void(BlockRange)> back_;
  std::mutex back_mutex_;
};

}  // namespace blockferry
