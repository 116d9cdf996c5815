// Memory for direct I/O: page-aligned, not initialised.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace blockferry {

struct FreeMemory {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
using AlignedBuffer = std::unique_ptr<uint8_t[], FreeMemory>;

inline constexpr size_t kBufferAlignment = 4096;

inline AlignedBuffer make_aligned_buffer(size_t length) {
  size_t rounded = (length + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
  void* memory = std::aligned_alloc(kBufferAlignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return AlignedBuffer(static_cast<uint8_t*>(memory));
}

}  // namespace blockferry
