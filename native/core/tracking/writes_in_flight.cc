#include "tracking/writes_in_flight.h"

namespace blockferry {

namespace {

constexpr unsigned kCountBits = 24;

}  // namespace

std::optional<uint32_t> WritesInFlight::begin(BlockRange range) {
  if (range.first >= kMaxFirst || range.count >= kMaxCount) return std::nullopt;
  uint64_t word = range.first << kCountBits | range.count;
  uint32_t from = next_.fetch_add(1, std::memory_order_relaxed);
  for (uint32_t i = 0; i < kSlots; i++) {
    uint32_t slot = (from + i) % kSlots;
    uint64_t empty = 0;
    if (slots_[slot].compare_exchange_strong(empty, word)) return slot;
  }
  return std::nullopt;
}

void WritesInFlight::recover(DirtyMap* map) {
  for (uint32_t slot = 0; slot < kSlots; slot++) {
    uint64_t word = slots_[slot].load();
    if (word == 0) continue;
    map->mark_blocks({word >> kCountBits, word & (kMaxCount - 1)});
    slots_[slot].store(0);
  }
}

}  // namespace blockferry
