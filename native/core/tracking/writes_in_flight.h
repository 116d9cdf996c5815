// The writes that have begun and are not marked yet, where they outlive the process: one that was
// cut off by its end may have changed some bytes.
#pragma once

#include <optional>

#include "tracking/dirty_map.h"

namespace blockferry {

class WritesInFlight {
 public:
  static constexpr uint64_t kSlots = 4096;
  // What a slot can't name counts as one that is not there: see begin().
  static constexpr uint64_t kMaxFirst = 1ull << 40, kMaxCount = 1ull << 24;

  // `slots` are kSlots words that outlive this.
  explicit WritesInFlight(Word* slots) : slots_(slots) {}

  // The slot to give back to end(); nothing when none is free. The range must not be empty. From
  // any thread.
  std::optional<uint32_t> begin(BlockRange range);
  void end(uint32_t slot) { slots_[slot].store(0); }
  // Takes what is left of an earlier process: marks its ranges and frees the slots.
  void recover(DirtyMap* map);

 private:
  Word* slots_;
  std::atomic<uint32_t> next_{0};
};

}  // namespace blockferry
