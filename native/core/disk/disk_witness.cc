#include "disk/disk_witness.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/file_descriptor.h"
#include "disk/durability.h"

namespace blockferry {

namespace {

// Slewing moves both clocks alike; what is left is the time between reading the two.
constexpr int64_t kClockWasSet = 100'000'000;
// The times of files lag behind the clock by so much at most.
constexpr uint64_t kFileClock = 2'000'000'000;

uint64_t nanoseconds(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

uint64_t clock_ns(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return nanoseconds(now);
}

bool read_line(const std::string& path, char* text, size_t size) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ssize_t got = fd.open() ? read(fd.get(), text, size - 1) : -1;
  text[got > 0 ? got : 0] = 0;
  return got > 0;
}

std::string sys_folder(dev_t device) {
  return "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device)) +
         "/";
}

// A partition's are those of its disk.
bool keeps_statistics(dev_t device) {
  char text[8];
  std::string folder = sys_folder(device);
  for (const char* queue : {"queue", "../queue"}) {
    if (read_line(folder + queue + "/iostats", text, sizeof text)) return text[0] == '1';
  }
  return false;
}

// File systems of this host, by their magic numbers: ext4, xfs, btrfs, tmpfs, f2fs, bcachefs, zfs,
// and overlayfs on one of them.
bool has_times_of_its_own(int fd) {
  constexpr uint32_t kLocal[] = {0xEF53,     0x58465342, 0x9123683E, 0x01021994,
                                 0xF2F52010, 0xCA451A4E, 0x2FC12FC1, 0x794C7630};
  struct statfs info;
  if (fstatfs(fd, &info) != 0) return false;
  uint32_t magic = static_cast<uint32_t>(info.f_type);
  return std::find(std::begin(kLocal), std::end(kLocal), magic) != std::end(kLocal);
}

// Fields of /sys/dev/block/M:N/stat: the 7th counts sectors written, the 14th those discarded.
bool read_sectors(dev_t device, uint64_t* sectors) {
  char text[512];
  if (!keeps_statistics(device) || !read_line(sys_folder(device) + "stat", text, sizeof text))
    return false;
  uint64_t field[14] = {};
  int count = 0;
  for (char* at = text; count < 14; count++) {
    char* end = at;
    field[count] = strtoull(at, &end, 10);
    if (end == at) break;
    at = end;
  }
  *sectors = field[6] + field[13];
  return count >= 7;
}

// Counts what was ever attached under the numbers of devices (Linux 5.15): what comes under the same
// number next is another disk. 0 where that can't be told.
uint64_t disk_sequence(int fd) {
  uint64_t sequence = 0;
#ifdef BLKGETDISKSEQ
  if (ioctl(fd, BLKGETDISKSEQ, &sequence) != 0) return 0;
#else
  (void)fd;
#endif
  return sequence;
}

}  // namespace

uint64_t wall_clock_ns() { return clock_ns(CLOCK_REALTIME); }

HostMoment host_now() {
  HostMoment host;
  read_line("/proc/sys/kernel/random/boot_id", host.boot_id, sizeof host.boot_id);
  host.clock_offset_ns = static_cast<int64_t>(clock_ns(CLOCK_REALTIME)) -
                         static_cast<int64_t>(clock_ns(CLOCK_BOOTTIME));
  return host;
}

bool same_boot(const HostMoment& a, const HostMoment& b) {
  return a.boot_id[0] != 0 && strncmp(a.boot_id, b.boot_id, sizeof a.boot_id) == 0 &&
         std::abs(a.clock_offset_ns - b.clock_offset_ns) < kClockWasSet;
}

DiskIdentity identity_of(const Origin& origin) {
  struct stat info;
  if (fstat(origin.descriptor(), &info) != 0) return {};
  if (S_ISBLK(info.st_mode)) return {info.st_rdev, disk_sequence(origin.descriptor())};
  return {info.st_dev, info.st_ino};
}

DiskState state_of(Origin& origin) {
  DiskState state;
  struct stat info;
  if (fstat(origin.descriptor(), &info) != 0) return state;
  state.is_file = !S_ISBLK(info.st_mode);
  if (state.is_file) {
    state.changed_ns = nanoseconds(info.st_ctim);
    state.known = true;
    return state;
  }
  // What somebody has written and nobody flushed yet is in no count.
  state.known = origin.flush().ok() && read_sectors(info.st_rdev, &state.sectors);
  return state;
}

DiskState sight_of(const Origin& origin) {
  DiskState state;
  struct stat info;
  if (fstat(origin.descriptor(), &info) != 0) return state;
  state.is_file = !S_ISBLK(info.st_mode);
  state.changed_ns = state.is_file ? nanoseconds(info.st_ctim) : 0;
  state.known = state.is_file ? has_times_of_its_own(origin.descriptor())
                              : read_sectors(info.st_rdev, &state.sectors);
  return state;
}

// Without a flush of the device, which would be waited for in the pause.
Status settled_sight_of(const Origin& origin, DiskState* state) {
  constexpr unsigned kOut =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  *state = sight_of(origin);
  if (!state->known || state->is_file) return {};
  FileDescriptor own = reopen(origin.descriptor(), O_RDONLY);  // it takes no report of a flush's
  if (!own.open() || sync_file_range(own.get(), 0, 0, kOut) != 0) {
    return Status::from_errno(errno, "write back " + origin.name());
  }
  *state = sight_of(origin);
  return {};
}

bool unchanged_since(const DiskState& state, uint64_t landed_ns, uint64_t stamp_ns) {
  return state.known && state.is_file && state.changed_ns <= stamp_ns &&
         state.changed_ns + kFileClock >= landed_ns;
}

}  // namespace blockferry
