// A change of a file that comes right behind another shows, also on a file system whose times go by the
// ticks of the clock.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "base/file_descriptor.h"
#include "disk/disk_changes.h"
#include "test/check.h"
#include "test/temporary_folder.h"

using namespace blockferry;

namespace {

void write_byte(const FileDescriptor& fd) { CHECK(pwrite(fd.get(), "x", 1, 0) == 1); }

void two_changes_within_a_tick(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(fd.open() && ftruncate(fd.get(), 4096) == 0);
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin({.path = path, .read_only = true}, &origin).ok());
  for (int i = 0; i < 20; i++) {
    write_byte(fd);
    DiskState before = settled_state_of(*origin);
    CHECK(before.known && before == state_of(*origin));
    write_byte(fd);
    CHECK(!(state_of(*origin) == before));
  }
}

// Who has a page mapped need not make it writable again to change it, until it was written back.
void a_store_to_a_page_that_is_dirty(const std::string& path) {
  constexpr size_t kMapped = 1 << 16;
  FileDescriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(fd.open() && ftruncate(fd.get(), kMapped) == 0);
  void* memory = mmap(nullptr, kMapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  CHECK(memory != MAP_FAILED);
  fd.reset();
  // Not of the first page, which is read past the cache when the disk is opened.
  auto* byte = static_cast<volatile char*>(memory) + kMapped / 2;
  *byte = 1;
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin({.path = path, .read_only = true}, &origin).ok());
  DiskState before = settled_state_of(*origin);
  CHECK(before == state_of(*origin));
  *byte = 2;
  CHECK(!(state_of(*origin) == before));
  munmap(memory, kMapped);
}

void one_who_writes_all_the_time(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(fd.open() && ftruncate(fd.get(), 4096) == 0);
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin({.path = path, .read_only = true}, &origin).ok());
  std::atomic<bool> stop{false};
  std::atomic<long> writes{0};
  std::thread writer([&] {
    for (; !stop; writes++) write_byte(fd);
  });
  DiskState before = settled_state_of(*origin);
  // One that has begun since.
  for (long seen = writes; writes < seen + 2;) std::this_thread::yield();
  stop = true;
  writer.join();
  CHECK(!(state_of(*origin) == before));
}

// Its files have the coarse times that every file had before Linux 6.13.
void on_a_ramfs(const TemporaryFolder& folder) {
  CHECK(mount("ramfs", folder.path().c_str(), "ramfs", 0, nullptr) == 0);
  two_changes_within_a_tick(folder / "image");
  CHECK(umount2(folder.path().c_str(), MNT_DETACH) == 0);
}

}  // namespace

int main() {
  const TemporaryFolder folder;
  RUN(two_changes_within_a_tick(folder / "image"));
  RUN(a_store_to_a_page_that_is_dirty(folder / "mapped"));
  RUN(one_who_writes_all_the_time(folder / "busy"));
  if (geteuid() == 0) {
    RUN(on_a_ramfs(folder));
  } else {
    puts("skip on_a_ramfs: mounting needs root");
  }
}
