// Regular files and block devices.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <mutex>

#include "base/aligned_buffer.h"
#include "base/file_descriptor.h"
#include "disk/disk_users.h"
#include "disk/durability.h"
#include "disk/exact_holes.h"
#include "disk/image_lock.h"
#include "disk/io_queue.h"
#include "disk/origin.h"

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

class FileOrigin : public Origin {
 public:
  Status open(const FileOriginOptions& options);

  uint64_t size() const override { return size_; }
  uint32_t alignment() const override { return alignment_; }
  bool read_only() const override { return read_only_; }
  bool blank() const override;
  const std::string& name() const override { return path_; }
  int descriptor() const override { return fd_.get(); }

  Status read(void* buffer, uint64_t offset, uint64_t length) override {
    return read_from(fd_.get(), buffer, offset, length);
  }
  Status write(const void* buffer, uint64_t offset, uint64_t length, bool durable) override;
  Status write_zeroes(uint64_t offset, uint64_t length, ZeroMode mode, bool fast_only) override;
  Status discard(uint64_t offset, uint64_t length) override;
  Status flush() override;
  Status extent_at(uint64_t offset, uint64_t length, OriginExtent* extent) override;
  Status hole_at(uint64_t offset, uint64_t length, uint64_t* hole) override;
  Status reread(void* buffer, uint64_t offset, uint64_t length) override;
  Status prefetch(uint64_t offset, uint64_t length) override;
  bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) override;

 private:
  Status open_descriptor(const FileOriginOptions& options);
  Status measure();
  Status lock(const FileOriginOptions& options);
  Status find_alignment(bool direct);
  void open_reread();
  Status still_reaches(uint64_t end) const;
  Status read_from(int fd, void* buffer, uint64_t offset, uint64_t length);
  Status failed(int error, const char* what, uint64_t offset, uint64_t length) const {
    return failed_io(*this, what, offset, length, error);
  }

  std::string path_;
  FileDescriptor fd_;
  FileDescriptor reread_fd_;  // O_DIRECT, or not open when the file system has none
  uint32_t reread_alignment_ = 1;
  uint64_t size_ = 0;
  uint32_t alignment_ = 1;
  bool read_only_ = false;
  bool block_device_ = false;
  // The kernel lets one buffered write at a time into a file and spins meanwhile: writers that
  // are long at it wait here instead.
  bool spins_ = false;
  std::mutex turn_;
  // Reads past the page cache are what they are called.
  bool truly_direct_ = false;
  bool trusts_holes_ = false;
  Durability durability_;
};

// The smallest unit in which O_DIRECT reads work: 512 where it does, else 4096, 0 if not at all. When
// reading fails for another reason, so much as always works.
Status direct_alignment(int fd, const std::string& path, uint32_t* alignment) {
  auto buffer = make_aligned_buffer(4096);
  for (uint32_t size : {uint32_t{kSector}, 4096u}) {
    *alignment = size;
    if (pread(fd, buffer.get(), size, 0) >= 0) return {};
    if (errno == EINVAL) continue;
    *alignment = 4096;
    return Status::from_errno(errno, "read the start of " + path);
  }
  *alignment = 0;
  return {};
}

// Some file systems take O_DIRECT and go through the page cache all the same (ext4 that journals data).
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

// A file's name is durable with its folder. Some file systems have nothing to do for that (EINVAL).
int make_name_durable(int file, const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path();
  FileDescriptor fd(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.open() && errno == EACCES) return syncfs(file) == 0 ? 0 : errno;  // one that can't be listed
  return fd.open() && (fsync(fd.get()) == 0 || errno == EINVAL) ? 0 : errno;
}

Status FileOrigin::open_descriptor(const FileOriginOptions& options) {
  int flags = O_CLOEXEC | O_NONBLOCK | (options.read_only ? O_RDONLY : O_RDWR);
  if (options.direct) flags |= O_DIRECT;
  struct stat info;
  bool there = stat(path_.c_str(), &info) == 0;
  if (there && S_ISDIR(info.st_mode)) {
    return Status::failure(Code::is_directory, path_ + " is a directory", EISDIR);
  }
  if (there && !S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return Status::failure(Code::unsupported, path_ + " is neither a file nor a block device");
  }
  bool exclusive = there && S_ISBLK(info.st_mode) && options.lock;
  bool create = !there && options.create_size != 0 && !options.read_only;
  if (create) flags |= O_CREAT | O_EXCL;
  fd_.reset(::open(path_.c_str(), exclusive ? flags | O_EXCL : flags, 0600));
  bool claimed = !fd_.open() && exclusive && errno == EBUSY;
  if (claimed && !options.force) return claimed_device(path_);
  if (claimed) fd_.reset(::open(path_.c_str(), flags));
  if (!fd_.open()) return Status::from_errno(errno, "open " + path_);
  if (!create) return {};
  bool sized = ftruncate(fd_.get(), static_cast<off_t>(options.create_size)) == 0;
  int error = sized ? make_name_durable(fd_.get(), path_) : errno;
  if (error == 0) return {};
  unlink(path_.c_str());
  return Status::from_errno(error, "create " + path_);
}

Status FileOrigin::measure() {
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return Status::from_errno(errno, "stat " + path_);
  block_device_ = S_ISBLK(info.st_mode);
  size_ = static_cast<uint64_t>(info.st_size);
  if (block_device_ && ioctl(fd_.get(), BLKGETSIZE64, &size_) != 0) {
    return Status::from_errno(errno, "ask the size of " + path_);
  }
  if (size_ == 0 || size_ % kSector != 0) {
    return Status::failure(Code::bad_size, path_ + " has " + std::to_string(size_) +
                                               " bytes: not a positive multiple of 512");
  }
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

Status FileOrigin::find_alignment(bool direct) {
  if (!direct) return {};
  Status status = direct_alignment(fd_.get(), path_, &alignment_);
  if (!status.ok()) return status;
  if (alignment_ == 0) {
    return Status::failure(Code::unsupported, "no direct I/O on " + path_, EINVAL);
  }
  if (size_ % alignment_ != 0) {
    return Status::failure(Code::bad_size, path_ + " has " + std::to_string(size_) +
                                               " bytes: direct I/O needs a multiple of " +
                                               std::to_string(alignment_));
  }
  return {};
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
  Status status = open_descriptor(options);
  if (status.ok()) status = measure();
  if (status.ok()) status = lock(options);
  if (status.ok()) status = find_alignment(options.direct);
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
  return Status::failure(Code::short_read, path_ + " was cut short to " +
                                               std::to_string(info.st_size) + " bytes");
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

Status FileOrigin::write(const void* buffer, uint64_t offset, uint64_t length, bool durable) {
  std::unique_lock<std::mutex> turn(turn_, std::defer_lock);
  if (spins_ && length >= kLongWrite) turn.lock();
  const uint8_t* at = static_cast<const uint8_t*>(buffer);
  while (length > 0) {
    ssize_t put = durable ? durability_.write(at, length, offset)
                          : pwrite(fd_.get(), at, length, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failed(errno, "write", offset, length);
    if (put == 0) return failed(ENOSPC, "write", offset, length);
    at += put;
    offset += put;
    length -= put;
  }
  return {};
}

Status FileOrigin::write_zeroes(uint64_t offset, uint64_t length, ZeroMode mode, bool fast_only) {
  int kind = mode == ZeroMode::may_trim ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
  // On a device ZERO_RANGE may write the zeroes out itself: that is not fast.
  bool may_be_slow = block_device_ && mode == ZeroMode::keep_space;
  if (!(fast_only && may_be_slow)) {
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
    Status status =
        write(zeroes(), offset + done, std::min(kZeroChunk, length - done), false);
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
    result = fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(offset), static_cast<off_t>(length));
  }
  if (result == 0 || errno == EOPNOTSUPP || errno == EINVAL || errno == EINTR) return {};
  return failed(errno, "discard", offset, length);
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
  bool aligned = (offset | length | reinterpret_cast<uintptr_t>(buffer)) % reread_alignment_ == 0;
  bool direct = reread_fd_.open() && aligned;
  if (!direct || !truly_direct_) {
    posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                  POSIX_FADV_DONTNEED);
  }
  return read_from(direct ? reread_fd_.get() : fd_.get(), buffer, offset, length);
}

Status FileOrigin::prefetch(uint64_t offset, uint64_t length) {
  posix_fadvise(fd_.get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                POSIX_FADV_WILLNEED);
  return {};
}

bool FileOrigin::read_without_waiting(void* buffer, uint64_t offset, uint64_t length) {
  if (alignment_ != 1) return false;
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
