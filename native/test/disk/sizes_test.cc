// A disk that ends before its storage does, and one that ends inside a unit of direct I/O: what is the
// disk's is read and written, to the last byte, and nothing else is.
// sanitizers: address, thread
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "disk/disk_witness.h"
#include "disk/io_queue.h"
#include "disk/origin.h"
#include "test/loop_device.h"

using namespace blockferry;

namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kUnit = 4096;
constexpr uint64_t kPart = 3072;  // the last unit's share of a disk
constexpr uint64_t kSize = 4 * kMiB + kPart;

using Bytes = std::vector<uint8_t>;

// Writes under way: in whole units, by pwrite(), and in parts, by pwritev2().
std::atomic<int> whole_now{0}, parts_now{0};
std::atomic<bool> are_watched{false};

template <typename Write>
ssize_t watch(std::atomic<int>& own, const std::atomic<int>& others, Write write) {
  own++;
  for (int i = 0; i < 20 && are_watched; i++) {
    CHECK(others == 0);
    std::this_thread::yield();
  }
  ssize_t result = write();
  own--;
  return result;
}

}  // namespace

extern "C" ssize_t pwrite(int fd, const void* bytes, size_t length, off_t offset) {
  return watch(whole_now, parts_now,
               [&] { return syscall(SYS_pwrite64, fd, bytes, length, offset); });
}

extern "C" ssize_t pwritev2(int fd, const iovec* parts, int count, off_t offset, int flags) {
  return watch(parts_now, whole_now,
               [&] { return syscall(SYS_pwritev2, fd, parts, count, offset, 0, flags); });
}

namespace {

Bytes noise(uint64_t seed, uint64_t length) {
  Bytes bytes(length);
  std::mt19937_64 random(seed);
  for (auto& byte : bytes) byte = static_cast<uint8_t>(random());
  return bytes;
}

void put(const std::string& path, const Bytes& bytes, uint64_t offset = 0) {
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  CHECK(pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset)) ==
        static_cast<ssize_t>(bytes.size()));
}

Bytes get(const std::string& path, uint64_t offset, uint64_t length) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Bytes bytes(length);
  CHECK(pread(fd.get(), bytes.data(), length, static_cast<off_t>(offset)) ==
        static_cast<ssize_t>(length));
  return bytes;
}

uint64_t size_of(const std::string& path) {
  struct stat info;
  CHECK(stat(path.c_str(), &info) == 0);
  return static_cast<uint64_t>(info.st_size);
}

uint64_t space_of(const std::string& path) {
  struct stat info;
  CHECK(stat(path.c_str(), &info) == 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

std::unique_ptr<Origin> open_origin(const std::string& path, bool direct) {
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin({.path = path, .direct = direct}, &origin).ok());
  return origin;
}

Bytes read_of(Origin& origin, uint64_t offset, uint64_t length, bool again = false) {
  auto buffer = make_aligned_buffer(length);
  CHECK((again ? origin.reread(buffer.get(), offset, length)
               : origin.read(buffer.get(), offset, length))
            .ok());
  return Bytes(buffer.get(), buffer.get() + length);
}

void write_to(Origin& origin, uint64_t offset, const Bytes& bytes, bool durable = false) {
  auto buffer = make_aligned_buffer(bytes.size());
  std::copy(bytes.begin(), bytes.end(), buffer.get());
  CHECK(origin.write(buffer.get(), offset, bytes.size(), durable).ok());
}

void a_disk_ends_where_it_is_told() {
  TemporaryFolder folder;
  put(folder / "disk", noise(1, 2 * kMiB));
  auto origin = open_origin(folder / "disk", false);
  CHECK(origin->size() == 2 * kMiB && origin->capacity() == 2 * kMiB);
  CHECK(origin->set_size(2 * kMiB + 512).code == Code::too_small);
  CHECK(origin->set_size(0).code == Code::bad_size);
  CHECK(origin->set_size(1000).code == Code::bad_size);
  CHECK(origin->size() == 2 * kMiB);
  CHECK(origin->set_size(kMiB + 512).ok());
  CHECK(origin->size() == kMiB + 512 && origin->capacity() == 2 * kMiB);
  CHECK(origin->set_size(2 * kMiB).ok() && origin->size() == 2 * kMiB);
}

// Any requests in sectors do what they say. The ring knows no part units.
void runs_like_a_model(Origin& origin, uint64_t seed) {
  CHECK(origin.size() == kSize && origin.alignment() == 512);
  std::mt19937_64 random(seed);
  Bytes model = noise(seed, kSize);
  write_to(origin, 0, model);
  auto queue = make_io_queue(origin, 1);
  CHECK(queue->backend() == std::string("threads"));
  auto buffer = make_aligned_buffer(kMiB);
  auto run = [&](IoRequest request) {
    queue->submit(&request);
    while (queue->reap() == nullptr) std::this_thread::yield();
    CHECK(request.status.ok());
  };
  for (int i = 0; i < 200; i++) {
    uint64_t unit = random() % 2 == 0 ? kUnit : 512;
    uint64_t length = std::min(kSize, (1 + random() % 64) * unit);
    uint64_t offset = random() % ((kSize - length) / unit + 1) * unit;
    if (random() % 4 == 0) offset = kSize - length;  // the end
    IoRequest request;
    request.offset = offset;
    request.length = length;
    request.buffer = buffer.get();
    switch (random() % 3) {
      case 0: {
        Bytes bytes = noise(random(), length);
        std::copy(bytes.begin(), bytes.end(), buffer.get());
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<off_t>(offset));
        request.kind = IoKind::write;
        request.durable = random() % 4 == 0;
        run(request);
        break;
      }
      case 1:
        request.kind = IoKind::write_zeroes;
        request.zero_mode = random() % 2 == 0 ? ZeroMode::may_trim : ZeroMode::keep_space;
        std::fill_n(model.begin() + static_cast<off_t>(offset), length, 0);
        run(request);
        break;
      default:
        run(request);
        CHECK(std::equal(buffer.get(), buffer.get() + length,
                         model.begin() + static_cast<off_t>(offset)));
    }
  }
  CHECK(origin.flush().ok());
  CHECK(read_of(origin, 0, kSize) == model);
  CHECK(read_of(origin, 0, kSize, true) == model);
}

// The device's last unit holds the disk's end, and what is somebody else's.
void a_device_of_large_sectors(bool direct, uint64_t seed) {
  LoopDevice device(5 * kMiB, 4096);
  Bytes behind = noise(9, 5 * kMiB - kSize);
  put(device.path(), behind, kSize);
  {
    auto origin = open_origin(device.path(), direct);
    CHECK(origin->alignment() == (direct ? kUnit : 1));
    CHECK(origin->set_size(kSize).ok());
    CHECK(!origin->allocated());
    if (!direct) {
      write_to(*origin, 0, noise(seed, kSize));
      CHECK(origin->flush().ok() && read_of(*origin, 0, kSize, true) == noise(seed, kSize));
    } else {
      runs_like_a_model(*origin, seed);
    }
    CHECK(origin->allocate().ok() && origin->allocated());
  }
  CHECK(get(device.path(), kSize, behind.size()) == behind);
}

// Nobody can read there.
void a_device_has_no_part_of_a_sector(bool direct) {
  LoopDevice device(kSize, 4096);
  auto origin = open_origin(device.path(), direct);
  CHECK(origin->size() == kSize - kPart && origin->capacity() == kSize - kPart);
  CHECK(origin->set_size(kSize).code == Code::too_small);
  CHECK(read_of(*origin, 0, origin->size()) == Bytes(origin->size(), 0));
}

// Seen by this process alone, and gone with it.
struct FileSystem {
  FileSystem() : device(64 * kMiB, 4096) {
    CHECK(system(("mkfs.ext4 -q -F " + device.path()).c_str()) == 0);
    CHECK(mount(device.path().c_str(), folder.path().c_str(), "ext4", 0, "") == 0);
  }
  ~FileSystem() { CHECK(umount(folder.path().c_str()) == 0); }
  LoopDevice device;
  TemporaryFolder folder;
};

// It ends with the disk, and does not grow.
void a_file_on_large_sectors(uint64_t seed) {
  FileSystem host;
  put(host.folder / "disk", Bytes(kSize, 1));
  auto origin = open_origin(host.folder / "disk", true);
  runs_like_a_model(*origin, seed);
  CHECK(size_of(host.folder / "disk") == kSize);
}

// Next to each other, in what may be one folio: they take turns.
void parts_and_whole_units_at_once() {
  FileSystem host;
  put(host.folder / "disk", Bytes(kSize, 1));
  auto origin = open_origin(host.folder / "disk", true);
  constexpr uint64_t kPages = 16;
  auto write_pages = [&](bool parts) {
    for (int i = 0; i < 50; i++) {
      for (uint64_t page = parts ? 0 : 1; page < kPages; page += 2) {
        uint64_t length = parts ? 512 : kUnit;
        write_to(*origin, page * kUnit,
                 Bytes(length, static_cast<uint8_t>(page + static_cast<uint64_t>(i))));
        CHECK(read_of(*origin, page * kUnit, 512) ==
              Bytes(512, static_cast<uint8_t>(page + static_cast<uint64_t>(i))));
      }
    }
  };
  are_watched = true;
  std::thread other([&] { write_pages(true); });
  write_pages(false);
  other.join();
  are_watched = false;
  for (uint64_t page = 0; page < kPages; page++) {
    Bytes last(512, static_cast<uint8_t>(page + 49));
    CHECK(read_of(*origin, page * kUnit, 512) == last);
    CHECK(read_of(*origin, page * kUnit, 512, true) == last);
  }
}

// What is read again comes from below the page cache, though the disk's end is in a page of that.
void the_end_is_read_again_from_the_device(bool direct) {
  LoopDevice device(5 * kMiB, 4096);
  auto origin = open_origin(device.path(), direct);
  CHECK(origin->set_size(kSize).ok());
  write_to(*origin, kSize - kPart, noise(1, kPart));
  CHECK(origin->flush().ok());
  CHECK(read_of(*origin, kSize - kPart, kPart) == noise(1, kPart));
  put(device.image(), noise(2, kPart), kSize - kPart);
  CHECK(read_of(*origin, kSize - kPart, kPart, true) == noise(2, kPart));
  CHECK(read_of(*origin, kSize - kUnit - kPart, kUnit + kPart, true).size() == kUnit + kPart);
}

// What is written in part units is stable when the write has ended, as nothing would tell of its loss.
void a_part_is_stable_at_once() {
  LoopDevice device(5 * kMiB, 4096);
  auto origin = open_origin(device.path(), true);
  CHECK(origin->set_size(kSize).ok());
  write_to(*origin, kSize - kPart, noise(1, kPart));
  CHECK(get(device.image(), kSize - kPart, kPart) == noise(1, kPart));
}

// A file that has all of its space keeps it, one that has not is as sparse as the disk.
void space_is_kept() {
  TemporaryFolder folder;
  put(folder / "thick", noise(1, kMiB));
  put(folder / "thin", noise(1, kMiB));
  CHECK(truncate((folder / "thin").c_str(), 2 * kMiB) == 0);
  auto thick = open_origin(folder / "thick", false), thin = open_origin(folder / "thin", false);
  CHECK(thick->allocated() && !thin->allocated());
  CHECK(thin->allocate().ok() && thin->allocated());
  CHECK(space_of(folder / "thin") >= 2 * kMiB && size_of(folder / "thin") == 2 * kMiB);
  CHECK(thin->write_zeroes(0, kMiB, ZeroMode::keep_space, false).ok());
  CHECK(space_of(folder / "thin") >= 2 * kMiB);
  CHECK(read_of(*thin, 0, kMiB) == Bytes(kMiB, 0));
}

// None of it is taken: others need what there is.
void space_that_is_not_there() {
  FileSystem host;
  put(host.folder / "disk", noise(1, kMiB));
  CHECK(truncate((host.folder / "disk").c_str(), 100 * kMiB) == 0);
  auto origin = open_origin(host.folder / "disk", false);
  CHECK(origin->flush().ok());
  uint64_t before = space_of(host.folder / "disk");
  CHECK(origin->allocate().code == Code::no_space && !origin->allocated());
  CHECK(space_of(host.folder / "disk") == before);
  CHECK(read_of(*origin, 0, kMiB) == noise(1, kMiB));
}

// There seems to be room, by what lies behind the disk. What was taken until there was none is given back.
void space_that_is_taken_behind_the_disk() {
  FileSystem host;
  std::string path = host.folder / "disk";
  put(path, noise(1, kMiB));
  CHECK(truncate(path.c_str(), 30 * kMiB) == 0);
  {
    FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    Bytes behind = noise(2, 25 * kMiB);
    CHECK(pwrite(fd.get(), behind.data(), behind.size(), 30 * kMiB) ==
          static_cast<ssize_t>(behind.size()));
    CHECK(fsync(fd.get()) == 0);
  }
  auto origin = open_origin(path, false);
  CHECK(origin->set_size(30 * kMiB).ok());
  uint64_t before = space_of(path);
  CHECK(origin->allocate().code == Code::no_space && !origin->allocated());
  CHECK(origin->flush().ok());
  CHECK(space_of(path) <= before + kMiB);
  CHECK(read_of(*origin, 0, kMiB) == noise(1, kMiB));
}

}  // namespace

int main() {
  uint64_t seed = std::random_device{}();
  if (const char* given = getenv("SEED")) seed = strtoull(given, nullptr, 10);
  printf("seed %llu (repeat with SEED=…)\n", static_cast<unsigned long long>(seed));
  RUN(a_disk_ends_where_it_is_told());
  RUN(space_is_kept());
  if (geteuid() != 0) {
    puts("skip devices and file systems: they need root");
    return 0;
  }
  CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", "", MS_REC | MS_PRIVATE, "") == 0);
  RUN(space_that_is_not_there());
  RUN(space_that_is_taken_behind_the_disk());
  for (bool direct : {true, false}) RUN(a_device_of_large_sectors(direct, seed));
  for (bool direct : {true, false}) RUN(a_device_has_no_part_of_a_sector(direct));
  RUN(a_file_on_large_sectors(seed));
  RUN(parts_and_whole_units_at_once());
  for (bool direct : {true, false}) RUN(the_end_is_read_again_from_the_device(direct));
  RUN(a_part_is_stable_at_once());
}
