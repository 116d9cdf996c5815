#include "disk/image_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace blockferry {

namespace {

// Of QEMU's permissions.
constexpr off_t kDoes = 100, kDoesNotShare = 200;
constexpr off_t kRead = 0, kWrite = 1, kResize = 3, kPermissions = 8;

struct Range {
  off_t start, length;  // 0: to the end of whatever there may be
};

// All but what QEMU would take for a writer, or for one that lets nobody read.
constexpr Range kReader[] = {
    {0, kDoes + kWrite},
    {kDoes + kPermissions, kDoesNotShare - kDoes - kPermissions},
    {kDoesNotShare + kWrite, 0},
};
constexpr Range kAll = {0, 0};
// Who has one of these is in a reader's way.
constexpr off_t kForeign[] = {kDoes + kWrite, kDoes + kResize, kDoesNotShare + kRead};

struct flock lock_of(short type, const Range& range) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = range.start;
  lock.l_len = range.length;
  return lock;
}

Status failed(int error, const std::string& path) {
  if (error == EAGAIN || error == EACCES) {
    return Status::failure(Code::busy, path + " is in use by another program, which has locked it",
                           EBUSY);
  }
  return Status::from_errno(error, "lock " + path);
}

Status set(int fd, const std::string& path, short type, const Range& range) {
  struct flock lock = lock_of(type, range);
  return fcntl(fd, F_OFD_SETLK, &lock) == 0 ? Status{} : failed(errno, path);
}

Status ask(int fd, const std::string& path, off_t byte) {
  struct flock lock = lock_of(F_WRLCK, {byte, 1});
  if (fcntl(fd, F_OFD_GETLK, &lock) != 0) return failed(errno, path);
  return lock.l_type == F_UNLCK ? Status{} : failed(EAGAIN, path);
}

}  // namespace

Status lock_image(int fd, const std::string& path, bool read_only) {
  if (!read_only) return set(fd, path, F_WRLCK, kAll);
  for (const Range& range : kReader) {
    Status status = set(fd, path, F_RDLCK, range);
    if (!status.ok()) return status;
  }
  for (off_t byte : kForeign) {
    Status status = ask(fd, path, byte);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace blockferry
