#include "disk/space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace blockferry {

namespace {

constexpr uint64_t kSpaceUnit = 512;  // of st_blocks

bool has_room(int fd, uint64_t size) {
  struct stat info;
  struct statvfs host;
  if (fstat(fd, &info) != 0 || fstatvfs(fd, &host) != 0) return true;
  uint64_t taken = static_cast<uint64_t>(info.st_blocks) * kSpaceUnit;
  return size <= taken + uint64_t{host.f_bavail} * host.f_frsize;
}

struct Hole {
  off_t begin, end;
};

// Up to `size`.
std::vector<Hole> holes_of(int fd, off_t size) {
  std::vector<Hole> holes;
  for (off_t at = 0; at < size;) {
    off_t begin = lseek(fd, at, SEEK_HOLE);
    if (begin < 0 || begin >= size) break;
    off_t data = lseek(fd, begin, SEEK_DATA);
    at = data < 0 ? size : std::min(data, size);
    holes.push_back({begin, at});
  }
  return holes;
}

int allocate_from_start(int fd, off_t size) {
  int result;
  do {
    result = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size);
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

}  // namespace

int allocate_space(int fd, uint64_t size) {
  if (!has_room(fd, size)) return ENOSPC;
  auto holes = holes_of(fd, static_cast<off_t>(size));
  int error = allocate_from_start(fd, static_cast<off_t>(size));
  if (error == 0) return 0;
  for (Hole hole : holes) {
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole.begin, hole.end - hole.begin);
  }
  return error;
}

bool has_all_space(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 &&
         static_cast<uint64_t>(info.st_blocks) * kSpaceUnit >= static_cast<uint64_t>(info.st_size);
}

}  // namespace blockferry
