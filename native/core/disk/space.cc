#include "disk/space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>

namespace blockferry {

namespace {

constexpr uint64_t kSpaceUnit = 512;  // of st_blocks

bool has_room(int fd, uint64_t size) {
  struct stat info;
  struct statvfs host;
  if (fstat(fd, &info) != 0 || fstatvfs(fd, &host) != 0) return true;
  uint64_t taken = static_cast<uint64_t>(info.st_blocks) * kSpaceUnit;
  return size <= taken + uint64_t{host.f_bfree} * host.f_frsize;
}

}  // namespace

int allocate_space(int fd, uint64_t size) {
  if (!has_room(fd, size)) return ENOSPC;
  int result;
  do {
    result = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size));
  } while (result != 0 && errno == EINTR);
  return result == 0 ? 0 : errno;
}

bool has_all_space(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 &&
         static_cast<uint64_t>(info.st_blocks) * kSpaceUnit >= static_cast<uint64_t>(info.st_size);
}

}  // namespace blockferry
