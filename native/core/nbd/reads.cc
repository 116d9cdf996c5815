// READ and BLOCK_STATUS of a connection.
#include <algorithm>
#include <utility>

#include "disk/block_hash.h"
#include "nbd/requests.h"

namespace blockferry {

using namespace nbd;

namespace {

constexpr uint32_t kZeroSearch = 64 << 10;  // smaller reads aren't searched for zeroes
constexpr uint64_t kZeroUnit = 32 << 10;    // shorter runs of zeroes are sent as data
constexpr size_t kMaxStatusExtents = 1024;  // in one reply

void add_extent(std::vector<OriginExtent>* extents, uint64_t length, bool hole) {
  if (!extents->empty() && extents->back().hole == hole) {
    extents->back().length += length;
  } else {
    extents->push_back({length, hole});
  }
}

// Zeroes are found by looking, not by asking for holes: SEEK_HOLE may walk through the whole
// file, and allocated zeroes need not travel either.
std::vector<OriginExtent> find_zeroes(const uint8_t* bytes, uint64_t length) {
  std::vector<OriginExtent> extents;
  for (uint64_t done = 0; done < length; done += kZeroUnit) {
    uint64_t unit = std::min(kZeroUnit, length - done);
    add_extent(&extents, unit, is_zero(bytes + done, unit));
  }
  return extents;
}

}  // namespace

void NbdRequests::read(const Request& wire, bool alone) {
  if (wire.length <= NbdReplies::kSmallRead && read_small(wire)) return;
  NbdRequest* request = take(wire);
  own_buffer(request);
  if (origin_.alignment() == 1 &&
      origin_.read_without_waiting(request->buffer, wire.offset, wire.length)) {
    return complete(request);
  }
  bool at_once = alone && origin_.alignment() != 1 && wire.length <= kShortTransfer;
  if (!at_once) return submit(request);
  perform(origin_, request);
  complete(request);
}

// Straight from the page cache into the replies.
bool NbdRequests::read_small(const Request& wire) {
  if (origin_.alignment() != 1) return false;
  uint8_t* place = replies_.small_read_place(wire);
  if (!origin_.read_without_waiting(place, wire.offset, wire.length)) return false;
  replies_.small_read(wire);
  tap_.count_read(wire.length);
  return true;
}

void NbdRequests::answer_read(NbdRequest* request) {
  const Request& wire = request->wire;
  tap_.count_read(wire.length);
  std::vector<OriginExtent> extents;
  bool may_split = session_.structured_replies && (wire.flags & kFlagDontFragment) == 0;
  if (may_split && wire.length >= kZeroSearch) {
    extents = find_zeroes(request->payload.data(), wire.length);
  }
  payload_bytes_ -= request->payload.capacity;
  replies_.read(wire, std::exchange(request->payload, {}), extents);
}

void NbdRequests::block_status(const Request& wire) {
  std::vector<OriginExtent> extents;
  size_t limit = (wire.flags & kFlagReqOne) != 0 ? 1 : kMaxStatusExtents;
  for (uint64_t done = 0; done < wire.length;) {
    OriginExtent extent;
    Status status = origin_.extent_at(wire.offset + done, wire.length - done, &extent);
    if (!status.ok()) return replies_.error(wire, kEio);
    if (extents.size() == limit && extents.back().hole != extent.hole) break;
    add_extent(&extents, extent.length, extent.hole);
    done += extent.length;
  }
  replies_.block_status(wire, extents);
}

}  // namespace blockferry
