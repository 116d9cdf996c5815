#include "tracking/hash_array.h"

#include <algorithm>
#include <bit>

#include "disk/block_hash.h"

namespace blockferry {

namespace {

constexpr uint64_t kGroupsInWord = 64;

}  // namespace

HashArray::HashArray(Word* words, uint64_t blocks, std::function<void(BlockRange)> back)
    : hashes_(words, blocks),
      groups_(blocks / kGroup / kGroupsInWord + 1),
      back_(std::move(back)) {}

void HashArray::may_hold(BlockRange range) {
  for (uint64_t group = range.first / kGroup; group * kGroup < range.end(); group++) {
    groups_[group / kGroupsInWord].fetch_or(1ull << (group % kGroupsInWord));
  }
}

// Two threads can come to it at once, with blocks of their own.
void HashArray::begin_group(uint64_t group) {
  uint64_t bit = 1ull << (group % kGroupsInWord);
  if ((groups_[group / kGroupsInWord].load() & bit) != 0) return;
  std::lock_guard lock(back_mutex_);
  if ((groups_[group / kGroupsInWord].load() & bit) != 0) return;
  uint64_t first = group * kGroup;
  if (back_) back_({first, std::min(kGroup, size() - first)});
  groups_[group / kGroupsInWord].fetch_or(bit);
}

void HashArray::set(uint64_t block, uint64_t hash) {
  if (hash == kZeroBlock ? all_zero({block, 1}) : get(block) == hash) return;
  begin_group(block / kGroup);
  hashes_[block].store(hash, std::memory_order_relaxed);
}

uint64_t HashArray::zeroes_until(BlockRange range) const {
  for (uint64_t block = range.first; block < range.end();) {
    uint64_t group = block / kGroup;
    uint64_t bits =
        groups_[group / kGroupsInWord].load(std::memory_order_relaxed) >> (group % kGroupsInWord);
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
