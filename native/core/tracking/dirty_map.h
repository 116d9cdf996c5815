// The dirty map: one bit per block, "not yet known to be durable at the destination".
//
// Levels of 64. A bit of the summary says that a word of 64 blocks may have dirty bits, one of `top_`
// that a region of 64 words may; neither is clear while a bit below it is set and its marker has
// returned. The reverse can be: a summary bit over an empty word costs one look.
//
// A region that is dirty as a whole is one bit, `full_`, whatever its words say: what is empty or was
// never sent costs time and memory by its regions, not by its blocks. Whoever takes part of such a
// region spreads it over its words first. Regions become full, are taken and spread one at a time, under
// a lock, and who marks in a full one looks at it under that lock: then the claim comes after him.
//
// Safe from any thread. The two orders that invariant 1 rests on:
//   a writer performs the write, then marks, then acknowledges;
//   a copier claims (test-and-clear), then reads.
// mark() is always a read-modify-write, even for a bit that is set already: skipping it would
// let the look at the bit pass the data's store.
//
// A second bit per block, `young`, says that the block was marked since the last age(). Claims
// can leave young blocks for later, so that blocks written often are sent last.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "base/lazy_words.h"

namespace blockferry {

struct BlockRange {
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t end() const { return first + count; }
};

class DirtyMap {
 public:
  static constexpr uint32_t kMinBlockSize = 4096;
  static constexpr uint32_t kMaxBlockSize = 1 << 20;

  // `size` in bytes, above 0; the last block may be partial. `block_size` a power of two from
  // 4 KiB to 1 MiB. Throws std::bad_alloc when the address space is not to be had.
  DirtyMap(uint64_t size, uint32_t block_size) : DirtyMap(size, block_size, nullptr) {}
  // The same over words_for(blocks) words that somebody else owns, as dirty as those say; null
  // stands for memory of its own.
  DirtyMap(uint64_t size, uint32_t block_size, Word* bits);

  static uint64_t words_for(uint64_t blocks);

  uint64_t size() const { return size_; }
  uint32_t block_size() const { return block_size_; }
  uint64_t blocks() const { return blocks_; }

  // Marks every block that the byte range touches. An empty range marks nothing; a range past
  // the end is cut off there.
  void mark(uint64_t offset, uint64_t length);
  // Not of a write, so not young; cut off at the end, too.
  void mark_blocks(BlockRange range) { mark_range(range, false); }
  void mark_all();
  // Clears without looking (used when the whole map is to be forgotten).
  void clear_all();

  // The blocks that the last writes began in, each once, the latest first: at most kRecent.
  static constexpr size_t kRecent = 64;
  std::vector<uint64_t> recent() const;

  bool test(uint64_t block) const;
  // Dirty blocks now. Exact while nobody marks or claims.
  uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  // How many times a clean block became dirty, ever: the rate of this is δ, unique dirty blocks.
  uint64_t marked() const { return marked_.load(std::memory_order_relaxed); }

  // Takes the first run of dirty blocks in [from, to), at most `limit` blocks, and clears it;
  // nothing when there is none. With `skip_young`, young blocks count as clean.
  std::optional<BlockRange> claim(uint64_t from, uint64_t to, uint64_t limit,
                                  bool skip_young = false);
  // Like claim(), but only looks.
  std::optional<BlockRange> find(uint64_t from, uint64_t to, uint64_t limit) const;
  // No block of [from, next(from)) is dirty; blocks() when none behind is. Quick.
  uint64_t next(uint64_t from) const;
  // All of them are dirty.
  bool covers(BlockRange range) const { return run_end(range.first, range.end()) == range.end(); }
  // Clears the range and answers how many of its blocks were dirty.
  uint64_t clear_blocks(BlockRange range);

  // Makes every block old: from here on `young` means marked since now.
  void age();
  // Blocks are tracked as young only after this (costs a second write per mark).
  void track_young(bool on) { young_on_.store(on, std::memory_order_relaxed); }

 private:
  uint64_t regions() const { return summary_.size(); }
  uint64_t region_end(uint64_t region) const;
  bool full(uint64_t region) const;
  bool mark_region(uint64_t region, bool whole, uint64_t* added);
  uint64_t mark_words(uint64_t from, uint64_t to, bool young);
  uint64_t take_region(uint64_t region);
  void spread(uint64_t region);
  void mark_range(BlockRange range, bool young);
  uint64_t claimable(uint64_t word, bool skip_young) const;
  uint64_t run_end(uint64_t block, uint64_t to) const;
  uint64_t take(uint64_t word, uint64_t bits);
  uint64_t put(uint64_t word, uint64_t bits);
  BlockRange claim_region(uint64_t block, uint64_t to, uint64_t limit);
  BlockRange claim_in_word(uint64_t block, uint64_t to, uint64_t limit, bool skip_young, bool here);
  void settle_summary(uint64_t word);
  void settle_top(uint64_t region);
  void adopt();

  uint64_t size_;
  uint32_t block_size_;
  uint32_t block_shift_;
  uint64_t blocks_;
  LazyWords bits_;
  LazyWords full_;     // a bit per region
  LazyWords summary_;  // a word per region
  LazyWords top_;      // a bit per region
  LazyWords young_, young_regions_;
  std::mutex regions_mutex_;
  std::atomic<bool> young_on_{false};
  std::array<std::atomic<uint64_t>, kRecent> recent_{};  // blocks; where the next goes: writes_
  std::atomic<uint64_t> writes_{0};
  std::atomic<uint64_t> count_{0};
  std::atomic<uint64_t> marked_{0};
};

}  // namespace blockferry
