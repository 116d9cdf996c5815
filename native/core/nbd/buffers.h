// Page-aligned buffers of one connection, kept for its next requests. Belongs to one thread.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/aligned_buffer.h"

namespace blockferry {

struct NbdBuffer {
  AlignedBuffer memory;
  size_t capacity = 0;
  uint8_t* data() const { return memory.get(); }
};

class NbdBufferPool {
 public:
  // At least `length` bytes, at most kLargest; the content is arbitrary. Throws std::bad_alloc.
  NbdBuffer take(size_t length) {
    size_t capacity = std::bit_ceil(length < kSmallest ? kSmallest : length);
    auto& kept = kept_[index_of(capacity)];
    if (kept.empty()) return {make_aligned_buffer(capacity), capacity};
    NbdBuffer buffer = std::move(kept.back());
    kept.pop_back();
    kept_bytes_ -= capacity;
    return buffer;
  }

  void give_back(NbdBuffer buffer) {
    if (!buffer.memory || kept_bytes_ + buffer.capacity > kKeep) return;
    kept_bytes_ += buffer.capacity;
    kept_[index_of(buffer.capacity)].push_back(std::move(buffer));
  }

 private:
  static constexpr size_t kSmallest = 16 << 10;
  static constexpr size_t kLargest = 32 << 20;
  static constexpr size_t kKeep = 8 << 20;  // what an idle connection may hold on to

  static size_t index_of(size_t capacity) {
    return static_cast<size_t>(std::countr_zero(capacity) - std::countr_zero(kSmallest));
  }

  std::array<std::vector<NbdBuffer>, std::countr_zero(kLargest) - std::countr_zero(kSmallest) + 1>
      kept_;
  size_t kept_bytes_ = 0;
};

}  // namespace blockferry
