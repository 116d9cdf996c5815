#include "tracking/hash_array.h"

#include <algorithm>
#include <bit>

#include "disk/block_hash.h"

namespace blockferry {

namespace {

constexpr uint64_t kGroupsInWord = 64;
constexpr uint64_t kGroup = 512;  // whose hashes fill a page of memory

}  // namespace

HashArray::HashArray(Word* words, uint64_t blocks, bool known)
    : hashes_(words, blocks), groups_(blocks / kGroup / kGroupsInWord + 1) {
  for (uint64_t word = 0; known && word < groups_.size(); word++) groups_[word].store(~0ull);
}

void HashArray::set(uint64_t block, uint64_t hash) {
  if (hash == kZeroBlock ? all_zero({block, 1}) : get(block) == hash) return;
  hashes_[block].store(hash, std::memory_order_relaxed);
  uint64_t group = block / kGroup, bit = 1ull << (group % kGroupsInWord);
  if ((groups_[group / kGroupsInWord].load() & bit) == 0) groups_[group / kGroupsInWord].fetch_or(bit);
}

uint64_t HashArray::zeroes_until(BlockRange range) const {
  for (uint64_t block = range.first; block < range.end();) {
    uint64_t group = block / kGroup;
    uint64_t bits = groups_[group / kGroupsInWord].load(std::memory_order_relaxed) >> (group % kGroupsInWord);
    if ((bits & 1) == 0) {
      uint64_t skipped = bits == 0 ? kGroupsInWord - group % kGroupsInWord : std::countr_zero(bits);
      block = (group + skipped) * kGroup;
      continue;
    }
    uint64_t end = std::min((group + 1) * kGroup, range.end());
    while (block < end && get(block) == kZeroBlock) block++;
    if (block < end) return block;
  }
  return range.end();
}

}  // namespace blockferry
