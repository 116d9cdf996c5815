#include "tracking/dirty_map.h"

#include <algorithm>
#include <bit>

namespace blockferry {

namespace {

constexpr uint64_t kBits = 64;
constexpr uint64_t kRegion = kBits * kBits;

// Bits [from, to) of a word, 0 <= from < to <= 64.
uint64_t bit_range(uint64_t from, uint64_t to) {
  uint64_t upto = to == kBits ? ~0ull : (1ull << to) - 1;
  return upto & (~0ull << from);
}

uint64_t words_of(uint64_t bits) { return (bits + kBits - 1) / kBits; }

bool get(const LazyWords& bits, uint64_t index) {
  return (bits[index / kBits].load() >> (index % kBits)) & 1;
}

void set(LazyWords& bits, uint64_t index) { bits[index / kBits].fetch_or(1ull << (index % kBits)); }

void clear(LazyWords& bits, uint64_t index) {
  bits[index / kBits].fetch_and(~(1ull << (index % kBits)));
}

// The first bit from `index` on that is set, or `end`.
uint64_t next_set(const LazyWords& words, uint64_t index, uint64_t end) {
  while (index < end) {
    uint64_t bits = words[index / kBits].load() >> (index % kBits);
    if (bits != 0) return std::min(index + std::countr_zero(bits), end);
    index = (index / kBits + 1) * kBits;
  }
  return end;
}

}  // namespace

uint64_t DirtyMap::words_for(uint64_t blocks) {
  return words_of(blocks) + words_of(words_of(words_of(blocks)));
}

DirtyMap::DirtyMap(uint64_t size, uint32_t block_size, Word* bits)
    : size_(size),
      block_size_(block_size),
      block_shift_(std::countr_zero(block_size)),
      blocks_((size + block_size - 1) >> block_shift_),
      bits_(bits, words_of(blocks_)),
      full_(bits ? bits + bits_.size() : nullptr, words_of(words_of(bits_.size()))),
      summary_(words_of(bits_.size())),
      top_(full_.size()),
      young_(bits_.size()),
      young_regions_(full_.size()) {
  if (bits != nullptr) adopt();
}

void DirtyMap::adopt() {
  uint64_t count = 0;
  if (blocks_ % kBits != 0) bits_[bits_.size() - 1].fetch_and(bit_range(0, blocks_ % kBits));
  for (uint64_t word = 0; word < bits_.size(); word++) {
    uint64_t bits = bits_[word].load();
    if (bits == 0) continue;
    count += std::popcount(bits);
    set(summary_, word);
    set(top_, word / kBits);
  }
  for (uint64_t region = 0; (region = next_set(full_, region, regions())) < regions(); region++) {
    count += region_end(region) - region * kRegion;
    set(top_, region);
  }
  count_.store(count);
}

uint64_t DirtyMap::region_end(uint64_t region) const {
  return std::min((region + 1) * kRegion, blocks_);
}

bool DirtyMap::full(uint64_t region) const { return get(full_, region); }

void DirtyMap::mark(uint64_t offset, uint64_t length) {
  if (length == 0 || offset >= size_) return;
  uint64_t end = length > size_ - offset ? size_ : offset + length;
  uint64_t first = offset >> block_shift_;
  recent_[writes_.fetch_add(1, std::memory_order_relaxed) % kRecent].store(
      first, std::memory_order_relaxed);
  mark_range({first, ((end - 1) >> block_shift_) - first + 1},
             young_on_.load(std::memory_order_relaxed));
}

std::vector<uint64_t> DirtyMap::recent() const {
  std::vector<uint64_t> blocks;
  uint64_t writes = writes_.load(std::memory_order_relaxed);
  for (uint64_t back = 1; back <= std::min<uint64_t>(writes, kRecent); back++) {
    uint64_t block = recent_[(writes - back) % kRecent].load(std::memory_order_relaxed);
    if (std::find(blocks.begin(), blocks.end(), block) == blocks.end()) blocks.push_back(block);
  }
  return blocks;
}

void DirtyMap::mark_range(BlockRange range, bool young) {
  if (range.first >= blocks_) return;
  range.count = std::min(range.count, blocks_ - range.first);
  uint64_t added = 0;
  for (uint64_t block = range.first; block < range.end();) {
    uint64_t region = block / kRegion;
    uint64_t stop = std::min(range.end(), region_end(region));
    bool whole = block == region * kRegion && stop == region_end(region);
    if (!mark_region(region, whole, &added)) added += mark_words(block, stop, young);
    block = stop;
  }
  if (added != 0) marked_.fetch_add(added, std::memory_order_relaxed);
}

// False when it has to be done word by word: of part of a region, or of one that holds marks.
bool DirtyMap::mark_region(uint64_t region, bool whole, uint64_t* added) {
  if (!whole && !full(region)) return false;
  std::lock_guard lock(regions_mutex_);
  if (full(region)) return true;
  if (!whole || get(top_, region)) return false;
  uint64_t blocks = region_end(region) - region * kRegion;
  count_.fetch_add(blocks, std::memory_order_relaxed);
  set(full_, region);
  set(top_, region);
  *added += blocks;
  return true;
}

uint64_t DirtyMap::mark_words(uint64_t from, uint64_t to, bool young) {
  uint64_t added = 0;
  for (uint64_t block = from; block < to;) {
    uint64_t word = block / kBits;
    uint64_t stop = std::min(to, (word + 1) * kBits);
    uint64_t bits = bit_range(block % kBits, stop - word * kBits);
    if (young) {
      young_[word].fetch_or(bits);
      if (!get(young_regions_, word / kBits)) set(young_regions_, word / kBits);
    }
    added += put(word, bits);
    block = stop;
  }
  return added;
}

// Sets the bits and answers how many of them were clear.
uint64_t DirtyMap::put(uint64_t word, uint64_t bits) {
  uint64_t fresh = std::popcount(bits & ~bits_[word].fetch_or(bits));
  // The counter moves before the summary shows the bits: a claim can't bring it below zero.
  if (fresh != 0) count_.fetch_add(fresh, std::memory_order_relaxed);
  set(summary_, word);
  if (!get(top_, word / kBits)) set(top_, word / kBits);
  return fresh;
}

void DirtyMap::mark_all() { mark_blocks({0, blocks_}); }

void DirtyMap::clear_all() { clear_blocks({0, blocks_}); }

bool DirtyMap::test(uint64_t block) const { return full(block / kRegion) || get(bits_, block); }

uint64_t DirtyMap::claimable(uint64_t word, bool skip_young) const {
  uint64_t bits = bits_[word].load();
  return skip_young ? bits & ~young_[word].load() : bits;
}

// Whoever spreads a region clears its bit in full_ last: it is looked at first.
uint64_t DirtyMap::next(uint64_t block) const {
  while (block < blocks_) {
    uint64_t region = next_set(top_, block / kRegion, regions());
    if (region == regions()) break;
    block = std::max(block, region * kRegion);
    if (full(region)) return block;
    uint64_t word = block / kBits;
    uint64_t bits = summary_[region].load() >> (word % kBits);
    if (bits != 0) return std::max(block, (word + std::countr_zero(bits)) * kBits);
    block = (region + 1) * kRegion;
  }
  return blocks_;
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
  clear(summary_, word);
  if (bits_[word].load() != 0) set(summary_, word);
  if (summary_[word / kBits].load() == 0) settle_top(word / kBits);
}

// The same for a region.
void DirtyMap::settle_top(uint64_t region) {
  clear(top_, region);
  if (summary_[region].load() != 0 || full(region)) set(top_, region);
}

// A full region as a whole. Answers its blocks, 0 when it is no longer full. What was marked in its
// words while it became full stays dirty, and goes once more.
uint64_t DirtyMap::take_region(uint64_t region) {
  uint64_t blocks = region_end(region) - region * kRegion;
  {
    std::lock_guard lock(regions_mutex_);
    if (!full(region)) return 0;
    clear(full_, region);
    count_.fetch_sub(blocks, std::memory_order_relaxed);
  }
  settle_top(region);
  return blocks;
}

void DirtyMap::spread(uint64_t region) {
  std::lock_guard lock(regions_mutex_);
  if (!full(region)) return;
  uint64_t end = region_end(region);
  for (uint64_t block = region * kRegion; block < end; block += kBits) {
    put(block / kBits, bit_range(0, std::min(end - block, kBits)));
  }
  clear(full_, region);
  count_.fetch_sub(end - region * kRegion, std::memory_order_relaxed);
}

// The region at `block` when it is full and may be taken as a whole; else it is spread.
BlockRange DirtyMap::claim_region(uint64_t block, uint64_t to, uint64_t limit) {
  uint64_t region = block / kRegion;
  if (!full(region)) return {block, 0};
  uint64_t end = region_end(region);
  if (block == region * kRegion && end <= to && end - block <= limit) {
    return {block, take_region(region)};
  }
  spread(region);
  return {block, 0};
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
    // What was taken beyond the run goes back.
    uint64_t rest = ours == 0 ? taken : taken & ~bit_range(start, start + ours);
    if (rest != 0) put(word, rest);
    if (ours != 0) return {word * kBits + start, ours};
  }
}

std::optional<BlockRange> DirtyMap::claim(uint64_t from, uint64_t to, uint64_t limit,
                                          bool skip_young) {
  to = std::min(to, blocks_);
  BlockRange run;
  uint64_t block = from;
  while (block < to && run.count < limit) {
    if (run.count == 0) block = next(block);
    if (block >= to) break;
    BlockRange part = claim_region(block, to, limit - run.count);
    if (part.count == 0) {
      part = claim_in_word(block, to, limit - run.count, skip_young, run.count != 0);
    }
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

// The end of the run of dirty blocks that begins at `block`, at most `to`.
uint64_t DirtyMap::run_end(uint64_t block, uint64_t to) const {
  while (block < to) {
    if (full(block / kRegion)) {
      block = region_end(block / kRegion);
      continue;
    }
    uint64_t ones = std::countr_one(bits_[block / kBits].load() >> (block % kBits));
    block += ones;
    if (ones == 0 || block % kBits != 0) break;
  }
  return std::min(block, to);
}

std::optional<BlockRange> DirtyMap::find(uint64_t from, uint64_t to, uint64_t limit) const {
  to = std::min(to, blocks_);
  for (uint64_t block = next(from); block < to; block = next(block)) {
    uint64_t bits = full(block / kRegion) ? 1 : bits_[block / kBits].load() >> (block % kBits);
    if (bits == 0) {
      block = (block / kBits + 1) * kBits;
      continue;
    }
    block += std::countr_zero(bits);
    if (block >= to) break;
    uint64_t end = run_end(block, limit < to - block ? block + limit : to);
    if (end != block) return BlockRange{block, end - block};
    block++;
  }
  return std::nullopt;
}

uint64_t DirtyMap::clear_blocks(BlockRange range) {
  uint64_t cleared = 0;
  uint64_t end = std::min(range.end(), blocks_);
  for (uint64_t block = next(range.first); block < end; block = next(block)) {
    BlockRange region = claim_region(block, end, end - block);
    if (region.count != 0) {
      cleared += region.count;
      block = region.end();
      continue;
    }
    uint64_t word = block / kBits;
    uint64_t stop = std::min((word + 1) * kBits, end);
    cleared += std::popcount(take(word, bit_range(block % kBits, stop - word * kBits)));
    block = stop;
  }
  return cleared;
}

void DirtyMap::age() {
  for (uint64_t region = 0; (region = next_set(young_regions_, region, regions())) < regions();
       region++) {
    clear(young_regions_, region);
    uint64_t end = std::min((region + 1) * kBits, young_.size());
    for (uint64_t word = region * kBits; word < end; word++) {
      if (young_[word].load(std::memory_order_relaxed) != 0) young_[word].store(0);
    }
  }
}

}  // namespace blockferry
