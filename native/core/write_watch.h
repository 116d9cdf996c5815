// Sees the writes to an origin that reach it past us: those of a block device whose writer is not
// served by blockferry. What it sees it brings into a dirty map, late: a write is there some
// milliseconds after it was done, or when settle() has returned.
//
// Invariant 1 with a watch: a write that completed is in the watch's own marks, in the dirty map,
// or in an extent that was read after it completed. So the watch may clear a mark of its own only
// while it sees to that the block goes into the dirty map once more if its write has not landed.
//
// A watch can neither hold nor slow a writer: whoever stops the writers does so before settle().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "dirty_map.h"
#include "status.h"

namespace blockferry {

struct WatchStats {
  uint64_t writes = 0;
  uint64_t written_bytes = 0;
};

class WriteWatch {
 public:
  virtual ~WriteWatch() = default;
  // From here on writes are brought into `map`, until another is given. Null: they are kept until
  // there is one again.
  virtual void track(DirtyMap* map) = 0;
  // The writers are stopped: waits for what is in flight, brings the last marks in, and proves that
  // no write was missed since begin(). Code::timeout when writes go on; Code::unaccounted when the
  // proof fails: then the marks are not to be relied on.
  virtual Status settle(std::chrono::steady_clock::duration limit) = 0;
  // Code::unaccounted when it is known already that settle() would say so.
  virtual Status check() const = 0;
  // Begins the account of settle() anew. The disk has to be marked as a whole after this.
  virtual Status begin() = 0;
  virtual WatchStats stats() const = 0;
};

// Block tracepoints of the kernel, on a disk or partition with requests. Sees a write from when
// this returns on. Code::unsupported says what is missing, Code::no_permission, Code::busy when the
// device is watched already.
Status open_bpf_watch(const std::string& path, std::unique_ptr<WriteWatch>* watch);
// Whether that would work, as far as can be told without attaching anything.
Status check_bpf_watch(const std::string& path);

}  // namespace blockferry
