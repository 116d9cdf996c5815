// Sees the writes to an origin that reach it past us: those of a block device whose writer is not
// served by blockferry. What it sees it brings into a dirty map, late: a write is there some
// milliseconds after it was done, or when drain() has returned.
//
// Invariant 1 with a watch: a write that completed is in the watch's own marks, in the dirty map,
// or in an extent that was read after it completed. So the watch may clear a mark of its own only
// while it sees to that the block goes into the dirty map once more if its write has not landed.
//
// One that is in the write path holds the writers itself, from a drain() after hold() to open(). One that is not
// can neither hold nor slow them: whoever stops the writers does so before drain().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/status.h"
#include "tracking/dirty_map.h"

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
  // Brings in what it has seen until now: nothing while it is not told where.
  virtual void collect() {}
  // The next drain() is to hold the writers.
  virtual void hold() {}
  // The writers are stopped, or held from now on: waits for what is in flight, brings the last marks
  // in, and proves that no write was missed since begin(). Code::timeout when writes go on;
  // Code::unaccounted when the proof fails: then the marks are not to be relied on. Asked again, it
  // says whether that still holds.
  virtual Status drain(std::chrono::steady_clock::duration limit) = 0;
  // Lets the writers go on that drain() holds; one that comes later holds nobody, but fails with
  // Code::closed, until hold().
  virtual void open() {}
  // Writes fail from now on, also when this process has ended: another side owns the disk.
  virtual void refuse() {}
  // Until open() another side may come to own the disk: if this process ends now, or the watch does,
  // writes fail from then on.
  virtual Status may_lose_disk() { return {}; }
  // Each write takes so much longer from here on, of one that is in the write path and can do that.
  virtual Status delay_writes(unsigned) {
    return Status::failure(Code::unsupported, "the tap can't delay writes");
  }
  // Code::unaccounted when it is known already that drain() would say so.
  virtual Status check() const = 0;
  // Begins the account of drain() anew. The disk has to be marked as a whole after this.
  virtual Status begin() = 0;
  virtual WatchStats stats() const = 0;
};

// Block tracepoints of the kernel, on a disk or partition with requests. Sees a write from when
// this returns on. Code::unsupported says what is missing, Code::no_permission, Code::busy when the
// device is watched already.
Status open_bpf_watch(const std::string& path, std::unique_ptr<WriteWatch>* watch);
// One that goes on when this process is killed, with what it has seen since it began; when it is
// closed nothing of it is left. `token` says to which map file it belongs: takes over the watch
// with that token, else begins another, and answers its token, which no watch had before. 0 is
// nobody's.
Status open_kept_bpf_watch(const std::string& path, uint64_t* token,
                           std::unique_ptr<WriteWatch>* watch);
// Whether that would work, as far as can be told without attaching anything.
Status check_bpf_watch(const std::string& path);

// dm-era, put under a device of device-mapper while that is in use (dm/stack.h). `metadata`: where
// it is kept, see EraStore. `delays`: with dm-delay, for delay_writes(). The disk is to be read at
// `below`. Errors as above; what is left of a dead process is taken over, but for a fence:
// Code::refused.
Status open_dm_watch(const std::string& path, const std::string& metadata, bool delays,
                     std::unique_ptr<WriteWatch>* watch, std::string* below);
Status check_dm_watch(const std::string& path);
// That, and whether it could delay writes.
Status check_dm_delay(const std::string& path);

}  // namespace blockferry
