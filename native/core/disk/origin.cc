#include "disk/origin.h"

namespace blockferry {

namespace {

constexpr uint64_t kSmallestUnit = 512;

}  // namespace

Status Origin::set_size(uint64_t size) {
  if (size == this->size()) return {};
  return Status::failure(Code::bad_size, name() + " is another size, and can't change it");
}

Status SizedOrigin::set_size(uint64_t size) {
  std::string bytes = std::to_string(size) + " bytes";
  if (size > capacity_) {
    return Status::failure(Code::too_small,
                           name() + " has " + std::to_string(capacity_) + " bytes, not " + bytes);
  }
  if (size == 0 || size % kSmallestUnit != 0) {
    return Status::failure(Code::bad_size,
                           name() + ": " + bytes + " is no positive multiple of 512");
  }
  size_.store(size);
  return {};
}

}  // namespace blockferry
