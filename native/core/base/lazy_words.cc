#include "base/lazy_words.h"

#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace blockferry {

namespace {

uint64_t bytes_of(uint64_t count) { return std::max<uint64_t>(count, 1) * sizeof(Word); }

Word* reserve(uint64_t count) {
  void* memory = mmap(nullptr, bytes_of(count), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A huge page would cost what 512 cost, for one word.
  madvise(memory, bytes_of(count), MADV_NOHUGEPAGE);
  return static_cast<Word*>(memory);
}

}  // namespace

LazyWords::LazyWords(uint64_t count) : LazyWords(nullptr, count) {}

LazyWords::LazyWords(Word* words, uint64_t count)
    : words_(words ? words : reserve(count)), count_(count), own_(words == nullptr) {}

LazyWords::~LazyWords() {
  if (own_) munmap(words_, bytes_of(count_));
}

}  // namespace blockferry
