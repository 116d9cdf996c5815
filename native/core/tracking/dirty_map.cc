#include "tracking/dirty_map.h"

#include <algorithm>
#include <bit>

namespace blockferry {

namespace {

constexpr uint64_t kBits = 64;

// Bits [from, to) of a word, 0 <= from < to <= 64.
uint64_t bit_range(uint64_t from, uint64_t to) {
  uint64_t upto = to == kBits ? ~0ull : (1ull << to) - 1;
  return upto & (~0ull << from);
}

}  // namespace

DirtyMap::DirtyMap(uint64_t size, uint32_t block_size, Word* bits)
    : size_(size),
      block_size_(block_size),
      block_shift_(std::countr_zero(block_size)),
      blocks_((size + block_size - 1) >> block_shift_),
      bits_(bits, words_for(blocks_)),
      summary_(words_for(words_for(blocks_))),
      young_(words_for(blocks_)) {
  if (bits != nullptr) adopt_bits();
}

void DirtyMap::adopt_bits() {
  uint64_t count = 0;
  if (blocks_ % kBits != 0) bits_[bits_.size() - 1].fetch_and(bit_range(0, blocks_ % kBits));
  for (uint64_t word = 0; word < bits_.size(); word++) {
    uint64_t bits = bits_[word].load();
    if (bits == 0) continue;
    count += std::popcount(bits);
    summary_[word / kBits].fetch_or(1ull << (word % kBits));
  }
  count_.store(count);
}

void DirtyMap::mark(uint64_t offset, uint64_t length) {
  if (length == 0 || offset >= size_) return;
  uint64_t end = length > size_ - offset ? size_ : offset + length;
  uint64_t first = offset >> block_shift_;
  mark_range({first, ((end - 1) >> block_shift_) - first + 1},
             young_on_.load(std::memory_order_relaxed));
}

void DirtyMap::mark_range(BlockRange range, bool young) {
  if (range.first >= blocks_) return;
  range.count = std::min(range.count, blocks_ - range.first);
  uint64_t added = 0;
  for (uint64_t block = range.first; block < range.end();) {
    uint64_t word = block / kBits;
    uint64_t stop = std::min(range.end(), (word + 1) * kBits);
    uint64_t bits = bit_range(block % kBits, stop - word * kBits);
    if (young) young_[word].fetch_or(bits);
    uint64_t before = bits_[word].fetch_or(bits);
    uint64_t fresh = std::popcount(bits & ~before);
    // The counter moves before the summary shows the bits: a claim can't bring it below zero.
    if (fresh != 0) count_.fetch_add(fresh, std::memory_order_relaxed);
    added += fresh;
    summary_[word / kBits].fetch_or(1ull << (word % kBits));
    block = stop;
  }
  if (added != 0) marked_.fetch_add(added, std::memory_order_relaxed);
}

void DirtyMap::mark_all() { mark_blocks({0, blocks_}); }

void DirtyMap::clear_all() { clear_blocks({0, blocks_}); }

bool DirtyMap::test(uint64_t block) const {
  return (bits_[block / kBits].load() >> (block % kBits)) & 1;
}

uint64_t DirtyMap::claimable(uint64_t word, bool skip_young) const {
  uint64_t bits = bits_[word].load();
  return skip_young ? bits & ~young_[word].load() : bits;
}

// The next word in [word, end_word) whose summary bit is set, or end_word.
uint64_t DirtyMap::next_candidate(uint64_t word, uint64_t end_word) const {
  while (word < end_word) {
    uint64_t bits = summary_[word / kBits].load() >> (word % kBits);
    if (bits != 0) return std::min(word + std::countr_zero(bits), end_word);
    word = (word / kBits + 1) * kBits;
  }
  return end_word;
}

// Clears the bits and answers those that this call cleared.
uint64_t DirtyMap::take(uint64_t word, uint64_t bits) {
  uint64_t before = bits_[word].fetch_and(~bits);
  uint64_t taken = before & bits;
  if (taken != 0) count_.fetch_sub(std::popcount(taken), std::memory_order_relaxed);
  if ((before & ~bits) == 0) settle_summary(word);
  return taken;
}

// The word was seen empty. A marker may have come since: look again after clearing the summary.
void DirtyMap::settle_summary(uint64_t word) {
  uint64_t bit = 1ull << (word % kBits);
  summary_[word / kBits].fetch_and(~bit);
  if (bits_[word].load() != 0) summary_[word / kBits].fetch_or(bit);
}

// Puts back what a claim took beyond its run.
void DirtyMap::give_back(uint64_t word, uint64_t bits) {
  if (bits == 0) return;
  count_.fetch_add(std::popcount(bits & ~bits_[word].fetch_or(bits)), std::memory_order_relaxed);
  summary_[word / kBits].fetch_or(1ull << (word % kBits));
}

// Claims the first run at or after `block` inside its word; with `here`, only one that starts at
// `block` itself. Another claimer may be quicker: then the next run is tried.
BlockRange DirtyMap::claim_in_word(uint64_t block, uint64_t to, uint64_t limit, bool skip_young,
                                   bool here) {
  uint64_t word = block / kBits;
  uint64_t mask = bit_range(block % kBits, std::min(to - word * kBits, kBits));
  for (;;) {
    uint64_t bits = claimable(word, skip_young) & mask;
    if (bits == 0) return {block, 0};
    uint64_t start = std::countr_zero(bits);
    if (here && start != block % kBits) return {block, 0};
    uint64_t ones = std::min<uint64_t>(std::countr_one(bits >> start), limit);
    uint64_t taken = take(word, bit_range(start, start + ones));
    uint64_t ours = std::countr_one(taken >> start);
    if (ours == 0) {
      give_back(word, taken);
      continue;
    }
    give_back(word, taken & ~bit_range(start, start + ours));
    return {word * kBits + start, ours};
  }
}

std::optional<BlockRange> DirtyMap::claim(uint64_t from, uint64_t to, uint64_t limit,
                                          bool skip_young) {
  to = std::min(to, blocks_);
  BlockRange run;
  uint64_t block = from;
  while (block < to && run.count < limit) {
    if (run.count == 0) {
      block = std::max(block, next_candidate(block / kBits, words_for(to)) * kBits);
      if (block >= to) break;
    }
    BlockRange part = claim_in_word(block, to, limit - run.count, skip_young, run.count != 0);
    if (part.count == 0) {
      if (run.count != 0) break;
      block = (block / kBits + 1) * kBits;
      continue;
    }
    if (run.count == 0) run.first = part.first;
    run.count += part.count;
    block = part.end();
    if (block % kBits != 0) break;  // the run ended inside the word
  }
  if (run.count == 0) return std::nullopt;
  return run;
}

std::optional<BlockRange> DirtyMap::find(uint64_t from, uint64_t to, uint64_t limit) const {
  to = std::min(to, blocks_);
  for (uint64_t block = from; block < to;) {
    uint64_t word = next_candidate(block / kBits, words_for(to));
    block = std::max(block, word * kBits);
    if (block >= to) break;
    uint64_t stop = std::min((word + 1) * kBits, to);
    uint64_t bits = bits_[word].load() & bit_range(block % kBits, stop - word * kBits);
    if (bits == 0) {
      block = stop;
      continue;
    }
    BlockRange run{word * kBits + std::countr_zero(bits), 0};
    while (run.end() < to && run.count < limit && test(run.end())) run.count++;
    if (run.count != 0) return run;
    block = run.first + 1;
  }
  return std::nullopt;
}

uint64_t DirtyMap::clear_blocks(BlockRange range) {
  uint64_t cleared = 0;
  uint64_t end = std::min(range.end(), blocks_);
  for (uint64_t block = range.first; block < end;) {
    uint64_t word = next_candidate(block / kBits, words_for(end));
    block = std::max(block, word * kBits);
    if (block >= end) break;
    uint64_t stop = std::min((word + 1) * kBits, end);
    cleared += std::popcount(take(word, bit_range(block % kBits, stop - word * kBits)));
    block = stop;
  }
  return cleared;
}

void DirtyMap::age() {
  for (uint64_t word = 0; word < young_.size(); word++) {
    if (young_[word].load(std::memory_order_relaxed) != 0) young_[word].store(0);
  }
}

}  // namespace blockferry
