// What a map file takes: by what is in the disk, not by its size. And where there is no space for it.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

#include "test/map_files.h"

using namespace blockferry;

namespace {
std::atomic<bool> no_space{false};
}

extern "C" int posix_fallocate(int fd, off_t offset, off_t length) {
  static const auto real =
      reinterpret_cast<int (*)(int, off_t, off_t)>(dlsym(RTLD_NEXT, "posix_fallocate"));
  return no_space ? ENOSPC : real(fd, offset, length);
}

namespace {

// A disk of 1 TiB with a block here and there.
void costs_by_content() {
  constexpr uint64_t kHuge = 1ull << 40;
  TemporaryFolder folder;
  Paths paths(folder);
  auto places = {uint64_t{0}, kHuge / kBlock / 2, kHuge / kBlock - 1};
  {
    auto disk = open_disk(paths, kHuge);
    auto tracking = open_tracking(paths, *disk);
    tracking->begin_session(false);
    for (uint64_t block : places) tracking->hashes().set(block, block + 7);
    CHECK(tracking->claim({0, kHuge / kBlock}, kHuge, false, 1)->count == kHuge / kBlock);
    tracking->pending(1).clear_all();
    tracking->close(*disk);
  }
  struct stat info;
  CHECK(stat(paths.map.c_str(), &info) == 0);
  CHECK(static_cast<uint64_t>(info.st_blocks) * 512 < 128 << 20);
  auto disk = open_disk(paths, kHuge);
  auto tracking = open_tracking(paths, *disk);
  CHECK(tracking->remembered() == kHuge / kBlock);
  for (uint64_t block : places) CHECK(tracking->hashes().get(block) == block + 7);
  CHECK(tracking->hashes().zeroes_until({1, kHuge / kBlock - 1}) == kHuge / kBlock / 2);
  tracking->forget();
  tracking.reset();
  tracking = open_tracking(paths, *disk);
  CHECK(tracking->remembered() == 0 && tracking->hashes().all_zero({0, kHuge / kBlock}));
  for (uint64_t block : places) CHECK(tracking->hashes().get(block) == 0);
}

bool holds(const std::string& path, uint64_t word) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY));
  uint64_t found = 0;
  for (off_t at = 0; pread(fd.get(), &found, sizeof found, at) == sizeof found;
       at += sizeof found) {
    if (found == word) return true;
  }
  return false;
}

// What can't be stored there is known here, and nothing is remembered of it, also when another session
// begins.
void forgets_without_space(bool another) {
  TemporaryFolder folder;
  Paths paths(folder);
  migrate_and_close(paths);
  {
    auto disk = open_disk(paths);
    auto tracking = open_tracking(paths, *disk);
    tracking->forget();
  }
  {
    auto disk = open_disk(paths);
    auto tracking = open_tracking(paths, *disk);
    no_space = true;
    tracking->begin_session(false);
    tracking->hashes().set(3, 4711);
    tracking->hashes().set(4, 4712);
    no_space = false;
    CHECK(tracking->hashes().get(3) == 4711 && tracking->hashes().get(4) == 4712);
    CHECK(!holds(paths.map, 4711) && !holds(paths.map, 4712));
    if (another) tracking->begin_session(false);
    tracking->claim({0, kBlocks}, kBlocks, false, 1);
    tracking->pending(1).clear_all();
    tracking->close(*disk);
  }
  auto disk = open_disk(paths);
  CHECK(open_tracking(paths, *disk)->remembered() == 0);
}

}  // namespace

int main() {
  RUN(costs_by_content());
  for (bool another : {false, true}) RUN(forgets_without_space(another));
}
