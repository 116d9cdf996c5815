// What a tap tracks of its disk: which blocks are dirty, which are on their way, and the hash of
// each as it was sent last. It outlives a session, and with a map file the process.
//
// While it remembers, a block that is neither dirty nor pending nor being written holds what its
// hash says. So a new session need not read it, and asks the destination only whether it has the
// same. Three orders make that hold wherever the process ends:
//   a write is put down as in flight, performed, marked, taken off;
//   a claim is marked as pending, then taken from the dirty map;
//   a pending block leaves that map when the destination has said that it is durable.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "tracking/dirty_map.h"
#include "tracking/hash_array.h"
#include "tracking/map_file.h"
#include "tracking/writes_in_flight.h"

namespace blockferry {

class Tracking {
 public:
  // In memory. Throws std::bad_alloc.
  Tracking(uint64_t size, uint32_t block_size);
  // In a map file, for a tap that is not open yet: see MapFile::open() for the errors, and for
  // `watch`.
  static Status open(const std::string& path, Origin& origin, uint32_t block_size,
                     std::shared_ptr<Tracking>* tracking, uint64_t watch = 0);

  DirtyMap& dirty() { return dirty_; }
  DirtyMap& pending(uint64_t mark) { return pending_[mark & 1]; }
  HashArray& hashes() { return hashes_; }
  // They may be others than zeroes.
  bool has_hashes() const { return has_hashes_; }

  // DirtyMap::claim(), of what the next mark will cover: from here on it is pending.
  std::optional<BlockRange> claim(BlockRange part, uint64_t limit, bool skip_young, uint64_t mark);

  // Blocks whose content is known.
  uint64_t remembered() const;
  // A session begins. What it has to send is dirty: every block, but for those that are remembered
  // when it can use that; those are answered, or null when there are none.
  std::unique_ptr<DirtyMap> begin_session(bool use_memory);
  // Makes what is on its way dirty again.
  void remark_pending();
  // The disk is written by somebody who marks nothing.
  void forget();

  // Around a write that finished() marks; only where it outlives the process.
  static constexpr uint32_t kNoSlot = ~0u;
  uint32_t began(uint64_t offset, uint64_t length);
  void ended(uint32_t slot, uint64_t took_ns);
  // No write follows.
  void close(Origin& origin);

 private:
  // How the words of a map file are shared out; all null in memory.
  struct Parts {
    Word* slots = nullptr;
    Word* maps[3] = {};  // dirty, then the pending ones
    Word* hashes = nullptr;
  };
  Tracking(uint64_t size, uint32_t block_size, const Parts& parts, std::unique_ptr<MapFile> file);
  static Parts share_out(Word* words, uint64_t blocks);

  std::unique_ptr<MapFile> file_;
  WritesInFlight in_flight_;
  DirtyMap dirty_;
  std::array<DirtyMap, 2> pending_;
  HashArray hashes_;
  std::atomic<bool> remembers_{false};
  bool has_hashes_ = false;
};

}  // namespace blockferry
