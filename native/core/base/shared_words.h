// Words in the memory of an eBPF map: the kernel changes them, too, and so does whoever has the
// same map.
#pragma once

#include <cstdint>
#include <span>

#include "base/lazy_words.h"
#include "base/status.h"

namespace blockferry {

class SharedWords {
 public:
  SharedWords() = default;
  ~SharedWords();
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;
  Status map(int fd, uint64_t count);

  Word& operator[](uint64_t index) const { return words_[index]; }
  std::span<Word> all() const { return words_; }

 private:
  std::span<Word> words_;
};

}  // namespace blockferry
