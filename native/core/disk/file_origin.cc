// Regular files and block devices.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "base/aligned_buffer.h"
#include "base/file_descriptor.h"
#include "disk/direct_io.h"
#include "disk/disk_users.h"
#include "disk/durability.h"
#include "disk/exact_holes.h"
#include "disk/image_lock.h"
#include "disk/io_queue.h"
#include "disk/open_file.h"
#include "disk/origin.h"
#include "disk/space.h"

namespace blockferry {

namespace {

constexpr uint64_t kSector = 512;
constexpr uint64_t kZeroChunk = 1 << 20;
constexpr uint64_t kLongWrite = 64 << 10;

const uint8_t* zeroes() {
  static const AlignedBuffer buffer = [] {
    auto memory = make_aligned_buffer(kZeroChunk);
    memset(memory.get(), 0, kZeroChunk);
    return memory;
  }();
  return buffer.get();
}

class FileOrigin : public SizedOrigin {
 public:
  Status open(const FileOriginOptions& options);

  uint32_t alignment() const override {
    return size() % unit_ == 0 ? unit_ : static_cast<uint32_t>(kSector);
  }
  bool read_only() const override { return read_only_; }
  bool blank() const override;
  bool created() const override { return created_; }
  const std::string& name() const override { return path_; }
  int descriptor() const override { return fd_.get(); }
  // The ring knows nothing of part units.
  int ring_descriptor() const override { return alignment() == unit_ ? fd_.get() : -1; }

  Status read(void* buffer, uint64_t offset, uint64_t length) override {
    bool whole = is_whole(buffer, offset, length);
    return read_from(whole ? fd_.get() : parts_.fd(), buffer, offset, length);
  }
  Status write(const void* buffer, uint64_t offset, uint64_t length, bool durable) override;
  Status write_zeroes(uint64_t offset, uint64_t length, ZeroMode mode, bool fast_only) override;
  Status discard(uint64_t offset, uint64_t length) override;
  Status allocate() override;
  bool allocated() const override;
  Status flush() override;
  Status extent_at(uint64_t offset, uint64_t length, OriginExtent* extent) override;
  Status hole_at(uint64_t offset, uint64_t length, uint64_t* hole) override;
  Status reread(void* buffer, uint64_t offset, uint64_t length) override;
  Status prefetch(uint64_t offset, uint64_t length) override;
  bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) override;

 private:
  Status measure();
  Status lock(const FileOriginOptions& options);
  Status find_unit(bool direct);
  void open_reread();
  Status still_reaches(uint64_t end) const;
  void before_zeroing(uint64_t offset, uint64_t length);
  // In units that the descriptor takes.
  bool is_whole(const void* buffer, uint64_t offset, uint64_t length) const {
    return !parts_.begun() || (offset | length | reinterpret_cast<uintptr_t>(buffer)) % unit_ == 0;
  }
  ssize_t put(const void* bytes, uint64_t length, uint64_t offset, bool durable);
  Status read_from(int fd, void* buffer, uint64_t offset, uint64_t length);
  Status reread_around(void* buffer, uint64_t offset, uint64_t length);
  void drop_pages(uint64_t offset, uint64_t length);
  Status failed(int error, const char* what, uint64_t offset, uint64_t length) const {
    return failed_io(*this, what, offset, length, error);
  }

  std::string path_;
  FileDescriptor fd_;
  FileDescriptor reread_fd_;  // O_DIRECT, or not open when the file system has none
  uint32_t reread_alignment_ = 1;
  uint32_t unit_ = 1;  // of requests: of direct I/O, or 1
  PartUnits parts_;    // begun where a disk may end in one
  bool read_only_ = false;
  bool created_ = false;
  bool block_device_ = false;
  uint64_t file_block_ = 4096;  // of the file system, at the most
  // The kernel lets one buffered write at a time into a file and spins meanwhile: writers that
  // are long at it wait here instead.
  bool spins_ = false;
  std::mutex turn_;
  // By allocate().
  std::atomic<bool> keeps_space_{false};
  // Reads past the page cache are what they are called.
  bool truly_direct_ = false;
  bool trusts_holes_ = false;
  Durability durability_;
};

Status FileOrigin::measure() {
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return Status::from_errno(errno, "stat " + path_);
  block_device_ = S_ISBLK(info.st_mode);
  file_block_ = std::max(file_block_, static_cast<uint64_t>(info.st_blksize));
  uint64_t bytes = static_cast<uint64_t>(info.st_size);
  if (block_device_ && ioctl(fd_.get(), BLKGETSIZE64, &bytes) != 0) {
    return Status::from_errno(errno, "ask the size of " + path_);
  }
  // What lies in a part of a sector at a device's end nobody can read (a loop device over such a file).
  int sector = 0;
  if (block_device_ && ioctl(fd_.get(), BLKSSZGET, &sector) == 0 && sector > 0) {
    bytes -= bytes % static_cast<uint64_t>(sector);
  }
  if (bytes == 0 || bytes % kSector != 0) {
    return Status::failure(Code::bad_size, path_ + " has " + std::to_string(bytes) +
                                               " bytes: not a positive multiple of 512");
  }
  measured(bytes);
  int device_read_only = 0;
  if (block_device_ && !read_only_ && ioctl(fd_.get(), BLKROGET, &device_read_only) == 0 &&
      device_read_only != 0) {
    return Status::failure(Code::read_only, path_ + " is a read-only device", EROFS);
  }
  return {};
}

// A device is held by O_EXCL already.
Status FileOrigin::lock(const FileOriginOptions& options) {
  if (!options.lock) return {};
  Status status = block_device_ ? Status{} : lock_image(fd_.get(), path_, read_only_);
  if (options.force) return status.code == Code::busy ? Status{} : status;
  Status users = check_no_writer(fd_.get(), path_);
  return users.ok() ? status : users;
}

Status FileOrigin::find_unit(bool direct) {
  if (!direct) return {};
  Status status = direct_alignment(fd_.get(), path_, &unit_);
  if (!status.ok()) return status;
  if (unit_ == 0) return Status::failure(Code::unsupported, "no direct I/O on " + path_, EINVAL);
  return unit_ > kSector ? parts_.begin(fd_.get(), read_only_) : Status{};
}

void FileOrigin::open_reread() {
  reread_fd_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC | O_NONBLOCK));
  if (!reread_fd_.open()) return;
  // Reading may work when it counts.
  (void)direct_alignment(reread_fd_.get(), path_, &reread_alignment_);
  if (reread_alignment_ == 0) reread_fd_.reset();
}

bool FileOrigin::blank() const {
  return !block_device_ && lseek(fd_.get(), 0, SEEK_DATA) < 0 && errno == ENXIO;
}

Status FileOrigin::open(const FileOriginOptions& options) {
  path_ = options.path;
  read_only_ = options.read_only;
  Status status = open_file(options, &fd_, &created_);
  if (status.ok()) status = measure();
  if (status.ok()) status = lock(options);
  if (status.ok()) status = find_unit(options.direct);
  if (!status.ok()) return status;
  // Only opening must not wait, for a pipe say. io_uring would take it for every request, and those
  // that would have to wait would fail, again and again, where the device can't tell (dm-crypt).
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) & ~O_NONBLOCK);
  spins_ = !block_device_ && !options.direct;
  trusts_holes_ = options.holes == Holes::automatic ? has_exact_holes(fd_.get())
                                                    : options.holes == Holes::trust;
  open_reread();
  truly_direct_ = reread_fd_.open() && passes_page_cache(reread_fd_.get());
  durability_.begin(fd_.get(), !(options.direct && truly_direct_));
  return {};
}

// A file that was cut short after it was opened must not read as zeroes.
Status FileOrigin::still_reaches(uint64_t end) const {
  if (block_device_) return {};
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return Status::from_errno(errno, "stat " + path_);
  if (static_cast<uint64_t>(info.st_size) >= end) return {};
  return Status::failure(Code::short_read,
                         path_ + " was cut short to " + std::to_string(info.st_size) + " bytes");
}

Status FileOrigin::read_from(int fd, void* buffer, uint64_t offset, uint64_t length) {
  uint8_t* at = static_cast<uint8_t*>(buffer);
  while (length > 0) {
    ssize_t got = pread(fd, at, length, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno, "read", offset, length);
    if (got == 0) {
      Status status = still_reaches(offset + length);
      if (!status.ok()) return status;
      return Status::failure(Code::short_read, path_ + " ended at " + std::to_string(offset));
    }
    at += got;
    offset += got;
    length -= got;
  }
  return {};
}

ssize_t FileOrigin::put(const void* bytes, uint64_t length, uint64_t offset, bool durable) {
  if (!is_whole(bytes, offset, length)) return parts_.write(bytes, length, offset);
  auto turn = parts_.shared();
  return durable ? durability_.write(bytes, length, offset)
                 : pwrite(fd_.get(), bytes, length, static_cast<off_t>(offset));
}

Status FileOrigin::write(const void* buffer, uint64_t offset, uint64_t length, bool durable) {
  std::unique_lock<std::mutex> turn(turn_, std::defer_lock);
  if (spins_ && length >= kLongWrite) turn.lock();
  const uint8_t* at = static_cast<const uint8_t*>(buffer);
  while (length > 0) {
    ssize_t done = put(at, length, offset, durable);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return failed(errno, "write", offset, length);
    if (done == 0) return failed(ENOSPC, "write", offset, length);
    at += done;
    offset += done;
    length -= done;
  }
  return {};
}

// A part of a file system's block is zeroed in the page cache, however the file is opened.
void FileOrigin::before_zeroing(uint64_t offset, uint64_t length) {
  if (!block_device_ && (offset % file_block_ != 0 || length % file_block_ != 0))
    durability_.cached_too();
}

Status FileOrigin::write_zeroes(uint64_t offset, uint64_t length, ZeroMode mode, bool fast_only) {
  int kind = mode == ZeroMode::may_trim ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  // On a device ZERO_RANGE may write the zeroes out itself: that is not fast.
  bool may_be_slow = block_device_ && mode == ZeroMode::keep_space;
  if (!(fast_only && may_be_slow)) {
    before_zeroing(offset, length);
    int result;
    do {
      result = fallocate(fd_.get(), kind | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                         static_cast<off_t>(length));
    } while (result != 0 && errno == EINTR);
    if (result == 0) return {};
    if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENODEV) {
      return failed(errno, "zero", offset, length);
    }
  }
  if (fast_only) return failed(EOPNOTSUPP, "zero quickly", offset, length);
  for (uint64_t done = 0; done < length; done += kZeroChunk) {
    Status status = write(zeroes(), offset + done, std::min(kZeroChunk, length - done), false);
    if (!status.ok()) return status;
  }
  return {};
}

Status FileOrigin::discard(uint64_t offset, uint64_t length) {
  int result;
  if (block_device_) {
    uint64_t range[2] = {offset, length};
    result = ioctl(fd_.get(), BLKDISCARD, range);
  } else {
    before_zeroing(offset, length);
    result = fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(offset), static_cast<off_t>(length));
  }
  if (result == 0 || errno == EOPNOTSUPP || errno == EINVAL || errno == EINTR) return {};
  return failed(errno, "discard", offset, length);
}

Status FileOrigin::allocate() {
  int error = block_device_ ? 0 : allocate_space(fd_.get(), size());
  if (error != 0) return failed(error, "allocate", 0, size());
  keeps_space_.store(true);
  return {};
}

bool FileOrigin::allocated() const {
  return keeps_space_.load() || (!block_device_ && has_all_space(fd_.get()));
}

Status FileOrigin::flush() {
  int error = durability_.flush();
  return error == 0 ? Status{} : Status::from_errno(error, "flush " + path_);
}

Status FileOrigin::hole_at(uint64_t offset, uint64_t length, uint64_t* hole) {
  off_t at = static_cast<off_t>(offset);
  off_t end = at + static_cast<off_t>(length);
  *hole = 0;
  if (!trusts_holes_) return {};
  off_t data = lseek(fd_.get(), at, SEEK_DATA);
  if (data < 0 && errno != ENXIO) return {};  // a file system without holes: all data
  if (data < 0) data = end;                   // none up to the end of the file
  if (data <= at) return {};
  *hole = static_cast<uint64_t>(std::min(data, end) - at);
  return still_reaches(offset + *hole);
}

Status FileOrigin::extent_at(uint64_t offset, uint64_t length, OriginExtent* extent) {
  uint64_t hole_length = 0;
  Status status = hole_at(offset, length, &hole_length);
  if (!status.ok()) return status;
  *extent = {hole_length == 0 ? length : hole_length, hole_length != 0};
  if (hole_length != 0) return {};
  off_t at = static_cast<off_t>(offset);
  off_t hole = lseek(fd_.get(), at, SEEK_HOLE);
  if (hole > at) extent->length = std::min(static_cast<uint64_t>(hole - at), length);
  return {};
}

Status FileOrigin::reread(void* buffer, uint64_t offset, uint64_t length) {
  if (!truly_direct_) drop_pages(offset, length);
  if (!reread_fd_.open()) return read(buffer, offset, length);
  bool aligned = (offset | length | reinterpret_cast<uintptr_t>(buffer)) % reread_alignment_ == 0;
  return aligned ? read_from(reread_fd_.get(), buffer, offset, length)
                 : reread_around(buffer, offset, length);
}

// Whole pages: a page of which only a part is named stays.
void FileOrigin::drop_pages(uint64_t offset, uint64_t length) {
  uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  uint64_t first = offset / page * page;
  uint64_t end = (offset + length + page - 1) / page * page;
  posix_fadvise(fd_.get(), static_cast<off_t>(first), static_cast<off_t>(end - first),
                POSIX_FADV_DONTNEED);
}

// The whole units that it lies in: a device has them, a file may end in the last.
Status FileOrigin::reread_around(void* buffer, uint64_t offset, uint64_t length) {
  uint64_t unit = reread_alignment_;
  uint64_t first = offset / unit * unit;
  uint64_t span = (offset + length + unit - 1) / unit * unit - first;
  uint64_t wanted = offset + length - first;
  auto around = make_aligned_buffer(span);
  for (uint64_t at = 0; at < wanted;) {
    ssize_t got =
        pread(reread_fd_.get(), around.get() + at, span - at, static_cast<off_t>(first + at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failed(errno, "read", first + at, span - at);
    uint64_t end = at + static_cast<uint64_t>(got);
    if (end < wanted && end % unit != 0) end = end / unit * unit;
    if (end == at)
      return Status::failure(Code::short_read, path_ + " ended at " + std::to_string(first + at));
    at = end;
  }
  memcpy(buffer, around.get() + (offset - first), length);
  return {};
}

Status FileOrigin::prefetch(uint64_t offset, uint64_t length) {
  posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                POSIX_FADV_WILLNEED);
  return {};
}

bool FileOrigin::read_without_waiting(void* buffer, uint64_t offset, uint64_t length) {
  if (unit_ != 1) return false;
  iovec part{buffer, length};
  return preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset), RWF_NOWAIT) ==
         static_cast<ssize_t>(length);
}

}  // namespace

Status open_file_origin(const FileOriginOptions& options, std::unique_ptr<Origin>* origin) {
  auto file = std::make_unique<FileOrigin>();
  Status status = file->open(options);
  if (status.ok()) *origin = std::move(file);
  return status;
}

}  // namespace blockferry
