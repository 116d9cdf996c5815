#include "disk/range_hash.h"

#include "base/aligned_buffer.h"
#include "disk/block_hash.h"

namespace blockferry {

Status hash_ranges(Origin& origin, const std::vector<ByteRange>& ranges, bool past_cache,
                   std::vector<std::optional<uint64_t>>* hashes) {
  auto buffer = make_aligned_buffer(kMaxHashedRange);
  for (const ByteRange& range : ranges) {
    if (range.length == 0 || range.length > kMaxHashedRange || range.offset > origin.size() ||
        range.length > origin.size() - range.offset) {
      return Status::failure(Code::invalid, "no range of " + origin.name());
    }
    Status status = past_cache ? origin.reread(buffer.get(), range.offset, range.length)
                               : origin.read(buffer.get(), range.offset, range.length);
    if (!status.ok() && !(past_cache && status.code == Code::io_error)) return status;
    uint64_t hash = 0;
    if (status.ok()) hash_blocks(buffer.get(), range.length, kMaxHashedRange, &hash);
    hashes->push_back(status.ok() ? std::optional(hash) : std::nullopt);
  }
  return {};
}

}  // namespace blockferry
