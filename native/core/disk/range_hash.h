// What ranges of a disk hold, told by hashes: for questions about a few of them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/status.h"
#include "disk/origin.h"

namespace blockferry {

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;  // at most kMaxHashedRange
};

inline constexpr uint64_t kMaxHashedRange = 1 << 20;

// One a range, 0 for zeroes. `past_cache`: as the device has it, see Origin::reread(); none of what can't be
// read then.
Status hash_ranges(Origin& origin, const std::vector<ByteRange>& ranges, bool past_cache,
                   std::vector<std::optional<uint64_t>>* hashes);

}  // namespace blockferry
