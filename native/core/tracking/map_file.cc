#include "tracking/map_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstring>
#include <new>

#include "disk/disk_witness.h"
#include "disk/exact_holes.h"

namespace blockferry {

namespace {

constexpr uint64_t kPage = 4096;
// The last byte is the layout of what follows.
constexpr char kMagic[8] = {'B', 'F', 'M', 'A', 'P', 0, 0, 2};

uint64_t inode_of(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? info.st_ino : 0;
}

}  // namespace

// What never changes while it is open comes first. The words begin at the next page.
struct MapFileHeader {
  char magic[8];
  uint64_t size;
  uint64_t block_size;
  HostMoment host;
  DiskIdentity disk;
  Word remembers;
  Word closed;  // the disk is as `at_close` says
  DiskState at_close;
  Word stamp;      // ns since 1970: no write of ours began later
  Word landed;     // one that has ended began then
  Word watch;      // the token of the watch that marks it, 0 when none does
  uint64_t inode;  // of this file: a copy does not know what was marked since
};
static_assert(sizeof(MapFileHeader) <= kPage);

Status MapFile::open(const std::string& path, Origin& origin, uint32_t block_size, Words words,
                     uint64_t watch, std::unique_ptr<MapFile>* file) {
  std::unique_ptr<MapFile> opened(new MapFile);
  Status status = opened->open_locked(path);
  if (status.ok()) status = opened->check_content();
  if (status.ok()) status = opened->map(words);
  if (status.ok()) status = opened->begin(origin, block_size, watch);
  if (!status.ok()) return status;
  *file = std::move(opened);
  return {};
}

// Without a lock: what is read may be old, and begin() compares once more.
uint64_t MapFile::watch_of(const std::string& path) {
  MapFile file;
  file.path_ = path;
  file.fd_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  uint64_t watch = 0;
  if (!file.fd_.open() || !file.check_content().ok()) return 0;
  ssize_t got = pread(file.fd_.get(), &watch, sizeof watch, offsetof(MapFileHeader, watch));
  return got == sizeof watch ? watch : 0;
}

MapFile::~MapFile() {
  if (header_ != nullptr) munmap(header_, bytes_);
}

Status MapFile::open_locked(const std::string& path) {
  path_ = path;
  fd_.reset(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd_.open()) return Status::from_errno(errno, "open the map file " + path);
  struct flock range = {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  if (fcntl(fd_.get(), F_OFD_SETLK, &range) == 0) return {};
  if (errno == EAGAIN || errno == EACCES) {
    return Status::failure(Code::busy, "the map file " + path + " is in use", EBUSY);
  }
  return Status::from_errno(errno, "lock the map file " + path);
}

// Nothing is overwritten that is no map file, and nobody else's is trusted.
Status MapFile::check_content() {
  struct stat info;
  if (fstat(fd_.get(), &info) != 0) return Status::from_errno(errno, "stat the map file " + path_);
  char magic[sizeof kMagic] = {};
  ssize_t got = S_ISREG(info.st_mode) ? pread(fd_.get(), magic, sizeof magic, 0) : -1;
  bool ours = got == sizeof magic && memcmp(magic, kMagic, sizeof magic - 1) == 0;
  layout_known_ = ours && magic[sizeof magic - 1] == kMagic[sizeof magic - 1];
  if (got != 0 && !ours) {
    return Status::failure(Code::refused, path_ + " is no map file, and is left alone");
  }
  if (info.st_uid == geteuid() && (info.st_mode & 022) == 0) return {};
  return Status::failure(Code::no_permission, "others can write the map file " + path_, EACCES);
}

// Named as what it is before it grows, should its maker end meanwhile. Allocated before it is mapped:
// a store to where no space is would end the process.
Status MapFile::map(Words words) {
  count_ = words;
  uint64_t at_once = kPage + words.at_once * sizeof(Word);
  uint64_t bytes = at_once + words.hashes * sizeof(Word);
  sparse_ = has_exact_holes(fd_.get());
  if (!sparse_) at_once = bytes;
  if (pwrite(fd_.get(), kMagic, sizeof kMagic, 0) != sizeof kMagic) {
    return Status::from_errno(errno, "write " + path_);
  }
  int error = posix_fallocate(fd_.get(), 0, static_cast<off_t>(at_once));
  if (error == 0 && ftruncate(fd_.get(), static_cast<off_t>(bytes)) != 0) error = errno;
  if (error != 0) {
    return Status::from_errno(error, "allocate " + std::to_string(at_once) + " bytes for " + path_);
  }
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
  if (memory == MAP_FAILED) return Status::from_errno(errno, "map " + path_);
  bytes_ = bytes;
  header_ = static_cast<MapFileHeader*>(memory);
  words_ = reinterpret_cast<Word*>(static_cast<uint8_t*>(memory) + kPage);
  return {};
}

// Goes on with what is there, or begins anew.
Status MapFile::begin(Origin& origin, uint32_t block_size, uint64_t watch) {
  HostMoment host = host_now();
  DiskIdentity disk = identity_of(origin);
  uint64_t inode = inode_of(fd_.get());
  bool ours = layout_known_ && header_->size == origin.size() &&
              header_->block_size == block_size && same_boot(header_->host, host) &&
              header_->disk == disk && header_->watch == watch && header_->inode == inode;
  trusted_ = ours && remembers() && (watch != 0 || unwritten(origin));
  header_->remembers.store(trusted_);
  if (!trusted_ && !clear()) return Status::from_errno(errno, "clear the map file " + path_);
  if (!trusted_) header_->landed.store(0);
  header_->closed.store(0);
  header_->size = origin.size();
  header_->block_size = block_size;
  header_->host = host;
  header_->disk = disk;
  header_->inode = inode;
  header_->watch.store(watch);
  stamp();
  return {};
}

// The hashes' space goes, where the file system can give it back.
bool MapFile::clear() {
  off_t hashes = static_cast<off_t>(kPage + count_.at_once * sizeof(Word)),
        end = static_cast<off_t>(bytes_);
  sparse_ = sparse_ && fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hashes,
                                 end - hashes) == 0;
  if (!sparse_) errno = posix_fallocate(fd_.get(), hashes, end - hashes);
  if (!sparse_ && errno != 0) return false;
  memset(static_cast<void*>(words_), 0, sparse_ ? count_.at_once * sizeof(Word) : bytes_ - kPage);
  return true;
}

void MapFile::back(BlockRange blocks) {
  if (!sparse_) return;
  uint64_t from = kPage + (count_.at_once + blocks.first) * sizeof(Word);
  uint64_t length = blocks.count * sizeof(Word);
  if (posix_fallocate(fd_.get(), static_cast<off_t>(from), static_cast<off_t>(length)) == 0) return;
  lost_ = true;
  remember(false);
  void* at = reinterpret_cast<uint8_t*>(header_) + from;
  if (mmap(at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    throw std::bad_alloc();
  }
}

void MapFile::each_backed(const std::function<void(BlockRange)>& tell) {
  if (!sparse_) return tell({0, count_.hashes});
  off_t begin = static_cast<off_t>(kPage + count_.at_once * sizeof(Word)),
        end = static_cast<off_t>(bytes_);
  for (off_t at = begin; at < end;) {
    off_t data = lseek(fd_.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;
    if (data < 0) data = at;
    off_t hole = lseek(fd_.get(), data, SEEK_HOLE);
    if (hole <= data || hole > end) hole = end;
    tell({static_cast<uint64_t>(data - begin) / sizeof(Word),
          static_cast<uint64_t>(hole - data) / sizeof(Word)});
    at = hole;
  }
}

bool MapFile::unwritten(Origin& origin) const {
  DiskState state = state_of(origin);
  if (header_->closed.load() != 0) return state == header_->at_close;
  return unchanged_since(state, header_->landed.load(), header_->stamp.load());
}

bool MapFile::remembers() const { return header_->remembers.load() != 0; }

void MapFile::remember(bool on) { header_->remembers.store(on && !lost_.load()); }

void MapFile::stamp() { header_->stamp.store(wall_clock_ns(), std::memory_order_relaxed); }

void MapFile::stamp_end(uint64_t took_ns) {
  header_->landed.store(wall_clock_ns() - took_ns, std::memory_order_relaxed);
  stamp();
}

// Unlocked here, as a session that has ended may still have it mapped for a while.
void MapFile::close(Origin& origin) {
  if (origin.flush().ok()) {
    header_->at_close = state_of(origin);
    header_->closed.store(header_->at_close.known);
  } else {
    remember(false);  // the kernel may have dropped what was written
  }
  struct flock range = {};
  range.l_type = F_UNLCK;
  range.l_whence = SEEK_SET;
  fcntl(fd_.get(), F_OFD_SETLK, &range);
}

}  // namespace blockferry
