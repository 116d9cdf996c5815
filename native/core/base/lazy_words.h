// An array of 64-bit words in zeroed, lazily backed memory: untouched parts cost nothing. Or such an
// array that somebody else owns, a mapped file's.
#pragma once

#include <atomic>
#include <cstdint>

namespace blockferry {

using Word = std::atomic<uint64_t>;

class LazyWords {
 public:
  // Throws std::bad_alloc when the address space is not to be had.
  explicit LazyWords(uint64_t count);
  // `words` must outlive this; null stands for memory of its own.
  LazyWords(Word* words, uint64_t count);
  ~LazyWords();
  LazyWords(const LazyWords&) = delete;
  LazyWords& operator=(const LazyWords&) = delete;

  Word& operator[](uint64_t index) { return words_[index]; }
  const Word& operator[](uint64_t index) const { return words_[index]; }
  uint64_t size() const { return count_; }

 private:
  Word* words_;
  uint64_t count_;
  bool own_;
};

}  // namespace blockferry
