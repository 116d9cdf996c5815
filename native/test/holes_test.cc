// A file system that tells holes where there is data: as who answers for a share or a layer can, and as ZFS
// has done. What it tells is relied on only where it is known to be exact, or when that is asked for.
// sanitizers: address, thread
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <atomic>

#include "disk/exact_holes.h"
#include "test/check.h"
#include "test/migration_pair.h"

using namespace blockferry;

namespace {

constexpr uint64_t kSize = 40 << 20;
constexpr long kUnknownMagic = NFS_SUPER_MAGIC;

std::atomic<ino_t> liar{0};  // the file that is told to be one hole
std::atomic<long> magic{0};  // what its file system says that it is; 0 for the truth

bool is_liar(int fd) {
  struct stat info;
  return liar != 0 && fstat(fd, &info) == 0 && info.st_ino == liar;
}

template <typename Function>
Function next_of(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" off_t lseek(int fd, off_t offset, int whence) noexcept {
  static const auto real = next_of<off_t (*)(int, off_t, int)>("lseek");
  if (whence != SEEK_DATA || !is_liar(fd)) return real(fd, offset, whence);
  errno = ENXIO;
  return -1;
}

extern "C" int fstatfs(int fd, struct statfs* info) noexcept {
  static const auto real = next_of<int (*)(int, struct statfs*)>("fstatfs");
  int result = real(fd, info);
  if (magic != 0) info->f_type = magic;
  return result;
}

namespace {

enum class Lies { source, destination };

Disk open_disk(const std::string& path, Holes holes) {
  FileOriginOptions options;
  options.path = path;
  options.create_size = kSize;
  options.holes = holes;
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  return Disk(std::move(origin));
}

void lie_about(const std::string& path) {
  struct stat info;
  CHECK(stat(path.c_str(), &info) == 0);
  liar = info.st_ino;
}

// Whether the copy is equal in the end; the digests are in any case.
bool moved_equal(Lies lies, bool inventory, Holes holes, long file_system) {
  TemporaryFolder folder;
  magic = file_system;
  std::vector<Disk> sources, targets;
  sources.push_back(open_disk(folder / "source", holes));
  targets.push_back(open_disk(folder / "target", holes));
  fill(lies == Lies::source ? *sources[0].tap : *targets[0].tap, 5, 0.5);
  lie_about(folder / (lies == Lies::source ? "source" : "target"));
  Pair pair(sources, targets, 4096, 2, inventory);
  pair.sender.start();
  pair.bulk.wait(1);
  pair.sender.mark(1);
  pair.verified.wait(1);
  // A destination that was taken for blank is found out when it is compared.
  for (WrongRange range : pair.wrong) CHECK(pair.sender.mark_again(range.disk, range.blocks).ok());
  pair.sender.finish(2);
  pair.verified.wait(2);
  CHECK(pair.wrong.empty() && pair.session->missing(0) == 0);
  CHECK(pair.sender.digest(0) == pair.session->digest(0));
  liar = 0;
  magic = 0;
  return equal(sources[0].tap->origin(), targets[0].tap->origin(), kSize);
}

void nothing_is_believed(Lies lies, bool inventory) {
  CHECK(moved_equal(lies, inventory, Holes::read, EXT4_SUPER_MAGIC));
  CHECK(moved_equal(lies, inventory, Holes::automatic, kUnknownMagic));
}

// What "equal" does not prove.
void what_is_trusted_is_not_proven() {
  CHECK(!moved_equal(Lies::source, false, Holes::trust, kUnknownMagic));
  CHECK(!moved_equal(Lies::source, false, Holes::automatic, EXT4_SUPER_MAGIC));
}

void known_file_systems() {
  TemporaryFolder folder;
  FileDescriptor fd(open((folder / "file").c_str(), O_RDWR | O_CREAT, 0600));
  for (long known : {0xef53l, 0x58465342l, 0x9123683el, 0xf2f52010l, 0x01021994l}) {
    magic = known;
    CHECK(has_exact_holes(fd.get()));
  }
  // NFS, SMB, Ceph, FUSE, ZFS, overlay, 9p
  for (long unknown :
       {0x6969l, 0xfe534d42l, 0x00c36400l, 0x65735546l, 0x2fc12fc1l, 0x794c7630l, 0x01021997l}) {
    magic = unknown;
    CHECK(!has_exact_holes(fd.get()));
  }
  magic = 0;
}

}  // namespace

int main() {
  RUN(nothing_is_believed(Lies::source, false));
  RUN(nothing_is_believed(Lies::source, true));
  RUN(nothing_is_believed(Lies::destination, false));
  RUN(nothing_is_believed(Lies::destination, true));
  RUN(what_is_trusted_is_not_proven());
  RUN(known_file_systems());
}
