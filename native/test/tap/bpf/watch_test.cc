// The watch by block tracepoints, against writers on a real loop device: whatever they do, a copy
// that is made from what the watch marks is equal in the end.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "test/check.h"
#include "test/loop_device.h"
#include "test/scarce_memory.h"
#include "test/tap/bpf/bpf_tap.h"

using namespace blockferry;
using namespace std::chrono_literals;

namespace {

constexpr uint64_t kSize = 16 << 20;
constexpr uint32_t kBlock = 4096;
constexpr int kWriters = 8;

std::shared_ptr<Tap> open_tap(const std::string& path) { return open_bpf_tap(path, ""); }

// Writes blocks, now and then discards or zeroes some, until it is told to stop.
void write_blocks(const std::string& path, uint64_t seed, int flags,
                  const std::atomic<bool>& stop) {
  FileOriginOptions options;
  options.path = path;
  options.direct = (flags & O_DIRECT) != 0;
  options.lock = false;
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  std::mt19937_64 random(seed);
  auto buffer = make_aligned_buffer(16 * kBlock);
  while (!stop) {
    uint64_t blocks = 1 + random() % 16;
    uint64_t offset = random() % (kSize / kBlock - blocks) * kBlock;
    uint64_t kind = random() % 32;
    memset(buffer.get(), static_cast<int>(random()), blocks * kBlock);
    if (kind == 0) CHECK(origin->discard(offset, blocks * kBlock).ok());
    if (kind == 1) {
      CHECK(origin->write_zeroes(offset, blocks * kBlock, ZeroMode::keep_space, false).ok());
    }
    if (kind > 1) CHECK(origin->write(buffer.get(), offset, blocks * kBlock, kind == 2).ok());
  }
}

// Makes writes to a device slow, until it goes.
class WriteLimit {
 public:
  WriteLimit(const std::string& device, uint64_t bytes_per_second) {
    struct stat info;
    CHECK(stat(device.c_str(), &info) == 0);
    number_ = std::to_string(major(info.st_rdev)) + ":" + std::to_string(minor(info.st_rdev));
    works_ = set(bytes_per_second);
  }
  ~WriteLimit() { set(0); }
  bool works() const { return works_; }

 private:
  bool set(uint64_t bytes_per_second) {
    std::ofstream file("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device");
    file << number_ << " " << bytes_per_second << std::flush;
    return file.good();
  }
  std::string number_;
  bool works_ = false;
};

class Copy {
 public:
  explicit Copy(Tap& tap) : tap_(tap), bytes_(make_aligned_buffer(kSize)) {
    auto tracking = std::make_shared<Tracking>(kSize, kBlock);
    tap_.track(tracking);
    map_ = &tracking->dirty();
    map_->mark_all();
  }
  // Writers may be faster than this: each block once.
  void pass() {
    uint64_t from = 0;
    while (auto run = map_->claim(from, map_->blocks(), 16)) {
      from = run->end();
      uint64_t offset = run->first * kBlock;
      CHECK(tap_.origin().read(bytes_.get() + offset, offset, run->count * kBlock).ok());
    }
  }
  uint64_t different() {
    auto block = make_aligned_buffer(kBlock);
    uint64_t different = 0;
    for (uint64_t offset = 0; offset < kSize; offset += kBlock) {
      CHECK(tap_.origin().read(block.get(), offset, kBlock).ok());
      different += memcmp(block.get(), bytes_.get() + offset, kBlock) != 0;
    }
    return different;
  }
  void end() { tap_.track(nullptr); }

 private:
  Tap& tap_;
  AlignedBuffer bytes_;
  DirtyMap* map_;
};

void copies_under_writers(const LoopDevice& device, uint64_t seed, int flags) {
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; i++) {
    writers.emplace_back([&, i] { write_blocks(device.path(), seed + i, flags, stop); });
  }
  auto tap = open_tap(device.path());
  Copy copy(*tap);
  auto end = Clock::now() + 700ms;
  while (Clock::now() < end) copy.pass();
  stop = true;
  for (auto& writer : writers) writer.join();
  Status status = tap->drain(30s);
  if (!status.ok()) fprintf(stderr, "seed %lu: %s\n", seed, status.operation.c_str());
  CHECK(status.ok());
  copy.pass();
  uint64_t different = copy.different();
  if (different != 0) fprintf(stderr, "seed %lu: %lu blocks differ\n", seed, different);
  CHECK(different == 0);
  CHECK(tap->drain(30s).ok());
  CHECK(tap->stats().writes > 0);
  copy.end();
}

uint64_t seed() {
  const char* given = getenv("BLOCKFERRY_SEED");
  uint64_t seed = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device()();
  printf("# seed %lu\n", seed);
  return seed;
}

void copies_are_equal_under_direct_writers() {
  uint64_t first = seed();
  for (uint64_t i = 0; i < 4; i++) {
    copies_under_writers(LoopDevice(kSize), first + 100 * i, O_DIRECT);
  }
}

void copies_are_equal_under_buffered_writers() {
  uint64_t first = seed();
  for (uint64_t i = 0; i < 4; i++) copies_under_writers(LoopDevice(kSize), first + 100 * i, 0);
}

// What the watch has taken when it finds that there is no memory is found again.
void a_write_without_memory() {
  LoopDevice device(kSize);
  auto tap = open_tap(device.path());
  Copy copy(*tap);
  copy.pass();
  one_in = 1;
  FileDescriptor fd(open(device.path().c_str(), O_WRONLY | O_DSYNC | O_CLOEXEC));
  std::vector<char> bytes(kBlock, 'x');
  CHECK(pwrite(fd.get(), bytes.data(), kBlock, 5 * kBlock) == kBlock);
  while (refused_allocations == 0) usleep(1000);
  one_in = 0;
  CHECK(tap->drain(30s).ok());
  copy.pass();
  CHECK(copy.different() == 0);
  copy.end();
}

// A write is in flight for so long that its mark is cleared and its block read in between.
void copies_are_equal_where_writes_take_long() {
  uint64_t first = seed();
  LoopDevice below(kSize);
  WriteLimit limit(below.path(), 16 << 20);
  if (!limit.works()) {
    puts("skip copies where writes take long: there is no blkio.throttle in the root group");
    return;
  }
  LoopDevice device(below);
  for (uint64_t i = 0; i < 4; i++) copies_under_writers(device, first + 100 * i, O_DIRECT);
}

void a_device_has_one_tap() {
  LoopDevice device(kSize);
  auto tap = open_tap(device.path());
  std::unique_ptr<WriteWatch> second;
  CHECK(open_bpf_watch(device.path(), &second).code == Code::busy);
  tap.reset();
  CHECK(open_bpf_watch(device.path(), &second).ok());
}

void what_is_no_such_device_is_refused() {
  std::unique_ptr<WriteWatch> watch;
  CHECK(open_bpf_watch("/dev/null", &watch).code == Code::unsupported);
  CHECK(open_bpf_watch("/nonexistent", &watch).code == Code::not_found);
}

}  // namespace

int main() {
  is_spared = true;
  if (const char* why = bpf_obstacle()) {
    printf("skip bpf watch: %s\n", why);
    return 0;
  }
  RUN(what_is_no_such_device_is_refused());
  RUN(a_device_has_one_tap());
  RUN(copies_are_equal_under_direct_writers());
  RUN(copies_are_equal_under_buffered_writers());
  RUN(a_write_without_memory());
  RUN(copies_are_equal_where_writes_take_long());
}
