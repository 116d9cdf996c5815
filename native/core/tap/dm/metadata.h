// Reads what dm-era keeps on its metadata device: in which era each of its blocks was written last.
//
// A reader of our own instead of `era_invalidate`: it is asked several times a second, and a
// process, its start and its text each time would cost more than the reading. The format is a part of
// the kernel's interface (version 1 since 2014); the layout below is that of
// drivers/md/dm-era-target.c and persistent-data/. What is read is checked as far as a damaged or
// unknown one could lead astray: where a block says that it lies, its kind, its counts.
//
// It is told of a state that stays as it is while it is read: the kernel's metadata snapshot, or what
// was committed last while the device is suspended.
#pragma once

#include <cstdint>
#include <functional>

#include "base/status.h"
#include "tracking/dirty_map.h"

namespace blockferry {

inline constexpr uint64_t kEraMetadataBlock = 4096;

bool is_era_superblock(const void* block);

struct EraState {
  uint64_t era = 0;           // the current one; not known of a snapshot
  uint64_t snapshot = 0;      // where the metadata snapshot is; 0: there is none
  uint64_t writesets = 0;     // the roots of the eras that still have a set of their own,
  uint64_t last_written = 0;  // and of the array of eras, by block
};

class EraMetadata {
 public:
  // Borrows it: see EraStore::descriptor().
  explicit EraMetadata(int descriptor) : descriptor_(descriptor) {}

  // As it was committed last.
  Status current(EraState* state) const;
  // Code::io_error when there is none.
  Status snapshot(EraState* state) const;

  // Of runs of dm-era's blocks; some may come twice.
  using Visit = std::function<void(BlockRange)>;
  // Blocks that were written in this era or later ones.
  Status written_since(const EraState& state, uint64_t era, const Visit& visit) const;

 private:
  using Entry = std::function<Status(uint64_t key, const uint8_t* value)>;
  using Value = std::function<void(uint64_t index, const uint8_t* value)>;
  Status read_block(uint64_t block, void* buffer) const;
  Status read_state(uint64_t block, EraState* state) const;
  Status walk_tree(uint64_t root, uint32_t value_size, int depth, const Entry& entry) const;
  Status walk_array(uint64_t root, uint32_t value_size, const Value& value) const;
  Status read_set(uint64_t root, const Visit& visit) const;

  int descriptor_;
};

}  // namespace blockferry
