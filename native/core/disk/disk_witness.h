// How a process tells whether anybody has written a disk while none of ours watched it.
#pragma once

#include <cstdint>

#include "disk/origin.h"

namespace blockferry {

// A boot of this host, and how its wall clock stands to its uptime: a clock that was set since
// makes times worthless.
struct HostMoment {
  char boot_id[40] = {};
  int64_t clock_offset_ns = 0;
};
HostMoment host_now();
bool same_boot(const HostMoment& a, const HostMoment& b);

// Of a device the second is what tells it from others that had its number before.
struct DiskIdentity {
  uint64_t device = 0, inode = 0;
  bool operator==(const DiskIdentity&) const = default;
};
DiskIdentity identity_of(const Origin& origin);

// A file's time of change; a device's sectors written and discarded.
struct DiskState {
  bool known = false;
  bool is_file = false;
  uint64_t changed_ns = 0;
  uint64_t sectors = 0;
  bool operator==(const DiskState&) const = default;
};
DiskState state_of(Origin& origin);
// The same for as long as nothing of ours writes. Not known where it would change by itself or not at
// all: file systems of other hosts or of user space, devices whose statistics are switched off. A
// write that passes by what is open here shows in neither: below a device, or through the whole disk
// of a partition; one by mmap() in a tmpfs has no time.
DiskState sight_of(const Origin& origin);
// When what others have written to a device, and was only in its page cache, has gone out to it. An
// error when that fails.
Status settled_sight_of(const Origin& origin, DiskState* state);
// A file's last change came no later than `stamp_ns`, and not before `landed_ns`: a snapshot that was
// taken back has the times of then. Of a device that can't be told: false.
bool unchanged_since(const DiskState& state, uint64_t landed_ns, uint64_t stamp_ns);

uint64_t wall_clock_ns();

}  // namespace blockferry
