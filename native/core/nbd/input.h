// What one connection has received and not yet taken: many small requests in one recv().
// Belongs to one thread.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "base/aligned_buffer.h"

namespace blockferry {

class NbdInput {
 public:
  // A payload up to this size is waited for in here; a larger one is received into a buffer of
  // its own.
  static constexpr size_t kLargestInside = 64 << 10;

  NbdInput() : buffer_(make_aligned_buffer(kCapacity)) {}

  const uint8_t* data() const { return buffer_.get() + begin_; }
  size_t size() const { return end_ - begin_; }
  void take(size_t length) { begin_ += length; }
  // Copies at most `length` bytes out and answers how many there were.
  size_t take_into(uint8_t* target, size_t length);

  // Where the next bytes go, and how many fit: always more than what completes a request whose
  // payload fits inside.
  uint8_t* room(size_t* length);
  void received(size_t length) { end_ += length; }

 private:
  static constexpr size_t kCapacity = 256 << 10;
  static constexpr size_t kLeastRoom = kLargestInside + 4096;

  AlignedBuffer buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace blockferry
