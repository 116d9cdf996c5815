#include "disk/direct_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>

#include "base/aligned_buffer.h"
#include "disk/durability.h"

namespace blockferry {

Status direct_alignment(int fd, const std::string& path, uint32_t* alignment) {
  auto buffer = make_aligned_buffer(4096);
  for (uint32_t size : {512u, 4096u}) {
    *alignment = size;
    if (pread(fd, buffer.get(), size, 0) >= 0) return {};
    if (errno == EINVAL) continue;
    *alignment = 4096;
    return Status::from_errno(errno, "read the start of " + path);
  }
  *alignment = 0;
  return {};
}

bool passes_page_cache(int fd) {
#ifdef STATX_DIOALIGN
  struct statx info = {};
  return statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &info) == 0 &&
         (info.stx_mask & STATX_DIOALIGN) != 0 && info.stx_dio_offset_align != 0;
#else
  (void)fd;
  return false;  // nobody knows
#endif
}

Status PartUnits::begin(int direct, bool read_only) {
  fd_ = reopen(direct, read_only ? O_RDONLY : O_RDWR);
  return fd_.open() ? Status{} : Status::from_errno(errno, "open it once more, for its end");
}

std::shared_lock<std::shared_mutex> PartUnits::shared() {
  return begun() ? std::shared_lock(turn_) : std::shared_lock<std::shared_mutex>();
}

ssize_t PartUnits::write(const void* bytes, uint64_t length, uint64_t offset) {
  std::unique_lock turn(turn_);
  iovec part{const_cast<void*>(bytes), length};
  return pwritev2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_DSYNC);
}

}  // namespace blockferry
