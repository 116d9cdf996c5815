#include "nbd/input.h"

#include <algorithm>
#include <cstring>

namespace blockferry {

size_t NbdInput::take_into(uint8_t* target, size_t length) {
  size_t taken = std::min(length, size());
  memcpy(target, data(), taken);
  take(taken);
  return taken;
}

uint8_t* NbdInput::room(size_t* length) {
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (kCapacity - end_ < kLeastRoom) {
    memmove(buffer_.get(), data(), size());
    end_ -= begin_;
    begin_ = 0;
  }
  *length = kCapacity - end_;
  return buffer_.get() + end_;
}

}  // namespace blockferry
