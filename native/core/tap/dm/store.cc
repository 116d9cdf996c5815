#include "tap/dm/store.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/aligned_buffer.h"
#include "tap/dm/metadata.h"

namespace blockferry {

namespace {

constexpr int kLoopTries = 100;

std::string number_of(dev_t device) {
  return std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

// Without a name; where the file system can't make it so, its name is taken away at once.
int nameless_file(const std::string& folder) {
  int fd = open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR)) return fd;
  std::string path = folder + "/blockferry-era-XXXXXX";
  fd = mkostemp(path.data(), O_CLOEXEC);
  if (fd >= 0) unlink(path.c_str());
  return fd;
}

}  // namespace

Status EraStore::open(const std::string& place, uint64_t bytes, std::unique_ptr<EraStore>* store) {
  struct stat info = {};
  if (!place.empty() && stat(place.c_str(), &info) != 0) {
    return Status::from_errno(errno, "find " + place);
  }
  auto opened = std::make_unique<EraStore>();
  Status status;
  if (S_ISBLK(info.st_mode)) {
    opened->number_ = number_of(info.st_rdev);
    status = opened->open_device(place, bytes);
  } else if (place.empty() || S_ISDIR(info.st_mode)) {
    status = opened->open_file(place, bytes);
  } else {
    status = Status::failure(Code::invalid, place + " is neither a folder nor a block device");
  }
  if (status.ok()) *store = std::move(opened);
  return status;
}

Status EraStore::open_device(const std::string& path, uint64_t bytes) {
  // Exclusive: for as long as it takes to look whether somebody uses it.
  FileDescriptor device(::open(path.c_str(), O_RDWR | O_DIRECT | O_EXCL | O_CLOEXEC));
  if (!device.open()) return Status::from_errno(errno, "open " + path);
  uint64_t size = 0;
  if (ioctl(device.get(), BLKGETSIZE64, &size) != 0)
    return Status::from_errno(errno, "measure " + path);
  if (size < bytes) {
    return Status::failure(Code::no_space, path + " is too small for the metadata: it takes " +
                                               std::to_string(bytes) + " bytes");
  }
  auto block = make_aligned_buffer(kEraMetadataBlock);
  if (pread(device.get(), block.get(), kEraMetadataBlock, 0) != kEraMetadataBlock) {
    return Status::from_errno(errno, "read " + path);
  }
  bool empty = std::all_of(block.get(), block.get() + kEraMetadataBlock,
                           [](auto byte) { return byte == 0; });
  if (!empty && !is_era_superblock(block.get())) {
    return Status::failure(Code::refused, path +
                                              " holds something else than metadata: zero its "
                                              "first 4096 bytes if it is not needed");
  }
  // A block of zeroes makes the kernel begin anew.
  memset(block.get(), 0, kEraMetadataBlock);
  if (pwrite(device.get(), block.get(), kEraMetadataBlock, 0) != kEraMetadataBlock) {
    return Status::from_errno(errno, "write " + path);
  }
  device.reset();
  data_.reset(::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  return data_.open() ? Status{} : Status::from_errno(errno, "open " + path);
}

// All of its space is taken now: dm-era fails writes when it gets none.
Status EraStore::open_file(const std::string& folder, uint64_t bytes) {
  data_.reset(folder.empty() ? memfd_create("blockferry-era", MFD_CLOEXEC) : nameless_file(folder));
  std::string where = folder.empty() ? "memory" : folder;
  if (!data_.open()) return Status::from_errno(errno, "make a file in " + where);
  int error = posix_fallocate(data_.get(), 0, static_cast<off_t>(bytes));
  if (error != 0) {
    return Status::from_errno(error, "set " + std::to_string(bytes) + " bytes aside in " + where);
  }
  return attach_loop();
}

// Its reads and writes go through the file's page cache, which the file's own reads see.
Status EraStore::attach_loop() {
  FileDescriptor control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control.open()) return Status::from_errno(errno, "open /dev/loop-control");
  for (int tries = 0; tries < kLoopTries; tries++) {  // another may take the free one first
    int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) return Status::from_errno(errno, "find a free loop device");
    std::string path = "/dev/loop" + std::to_string(number);
    FileDescriptor loop(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!loop.open()) return Status::from_errno(errno, "open " + path);
    loop_config config = {};
    config.fd = static_cast<uint32_t>(data_.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    if (ioctl(loop.get(), LOOP_CONFIGURE, &config) != 0) {
      if (errno == EBUSY) continue;
      return Status::from_errno(errno, "attach " + path);
    }
    struct stat info;
    if (fstat(loop.get(), &info) != 0) return Status::from_errno(errno, "look at " + path);
    number_ = number_of(info.st_rdev);
    loop_ = std::move(loop);
    return {};
  }
  return Status::failure(Code::busy, "no free loop device");
}

}  // namespace blockferry
