// A bpf tap with a map file, whose process is killed at any moment while somebody writes to the
// device: what is remembered then is what the device holds. And what must not be trusted.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "disk/block_hash.h"
#include "tap/bpf/pins.h"
#include "test/loop_device.h"
#include "test/tap/bpf/bpf_tap.h"

using namespace blockferry;
using namespace std::chrono_literals;

namespace {

constexpr uint64_t kSize = 8 << 20;
constexpr uint32_t kBlock = 4096;
constexpr uint64_t kBlocks = kSize / kBlock;

struct Place {
  TemporaryFolder folder;
  LoopDevice device{kSize};
  std::string map = folder / "map";
  std::shared_ptr<Tap> open() const { return open_bpf_tap(device.path(), map); }
};

// A process of ours, which ends with us.
template <typename Run>
pid_t start(Run run) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  run();
  _exit(1);
}

void end(pid_t child) {
  kill(child, SIGKILL);
  CHECK(waitpid(child, nullptr, 0) == child);
}

// Mostly a few blocks, over and over while they are sent; now and then a discard.
[[noreturn]] void write_for_ever(const std::string& path, uint64_t seed) {
  FileDescriptor fd(open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  CHECK(fd.open());
  std::mt19937_64 random(seed);
  auto buffer = make_aligned_buffer(8 * kBlock);
  for (;;) {
    uint64_t blocks = 1 + random() % 8;
    uint64_t space = random() % 64 == 0 ? kBlocks : 256;
    auto offset = static_cast<off_t>(random() % (space - blocks) * kBlock);
    memset(buffer.get(), static_cast<int>(random()), blocks * kBlock);
    if (random() % 64 == 0) {
      (void)fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, kBlock);
    } else {
      CHECK(pwrite(fd.get(), buffer.get(), blocks * kBlock, offset) > 0);
    }
  }
}

// The sender's steps and no more, and the watch's as often as can be, so that a kill falls between
// any two of them.
[[noreturn]] void copy_until_killed(const Place& place, int told) {
  auto tap = place.open();
  auto tracking = tap->tracking();
  tracking->begin_session(true);
  auto bytes = make_aligned_buffer(kBlock);
  for (uint64_t turn = 0, mark = 0;; turn++) {
    tap->watch()->collect();
    // Each block once: the writer may be faster than this.
    for (uint64_t from = 0;;) {
      auto run = tracking->claim({from, kBlocks - from}, 8, false, mark);
      if (!run) break;
      from = run->end();
      for (uint64_t block = run->first; block < run->end(); block++) {
        uint64_t hash = 0;
        CHECK(tap->origin().read(bytes.get(), block * kBlock, kBlock).ok());
        hash_blocks(bytes.get(), kBlock, kBlock, &hash);
        tracking->hashes().set(block, hash);
      }
      if (run->first % 4 == 0) tap->watch()->collect();
    }
    if (turn % 4 == 0) tracking->pending(mark++).clear_all();
    if (turn == 0) CHECK(write(told, "", 1) == 1);
  }
}

void copy_and_kill(const Place& place, useconds_t after) {
  int pipe_ends[2];
  CHECK(pipe(pipe_ends) == 0);
  pid_t child = start([&] { copy_until_killed(place, pipe_ends[1]); });
  close(pipe_ends[1]);
  char byte;
  CHECK(read(pipe_ends[0], &byte, 1) == 1);
  close(pipe_ends[0]);
  usleep(after);
  end(child);
}

// Every block that is remembered holds what its hash says. Answers how many those are.
uint64_t check_memory(Tap& tap) {
  CHECK(tap.drain(30s).ok());
  auto tracking = tap.tracking();
  uint64_t remembered = tracking->remembered();
  auto known = tracking->begin_session(true);
  if (!known) return 0;
  CHECK(known->count() == remembered);
  auto bytes = make_aligned_buffer(kBlock);
  uint64_t wrong = 0;
  for (uint64_t block = 0; block < kBlocks; block++) {
    if (!known->test(block)) continue;
    uint64_t hash = 0;
    CHECK(tap.origin().read(bytes.get(), block * kBlock, kBlock).ok());
    hash_blocks(bytes.get(), kBlock, kBlock, &hash);
    wrong += hash != tracking->hashes().get(block);
  }
  if (wrong != 0) fprintf(stderr, "%lu blocks are remembered and were changed\n", wrong);
  CHECK(wrong == 0);
  return remembered;
}

// Of this device: others may be at work on theirs.
std::vector<BpfPins::Folder> pins_of(const Place& place) {
  struct stat info;
  CHECK(stat(place.device.path().c_str(), &info) == 0);
  std::string number =
      std::to_string(major(info.st_rdev)) + ":" + std::to_string(minor(info.st_rdev)) + "-";
  auto pins = BpfPins::list();
  std::erase_if(pins, [&](const auto& folder) { return !folder.name.starts_with(number); });
  return pins;
}

bool is_pinned(const Place& place) { return !pins_of(place).empty(); }

uint64_t seed() {
  const char* given = getenv("BLOCKFERRY_SEED");
  uint64_t seed = given != nullptr ? strtoull(given, nullptr, 10) : std::random_device()();
  printf("# seed %lu\n", seed);
  return seed;
}

void what_is_remembered_after_kills_is_what_the_device_holds(int trials) {
  std::mt19937_64 random(seed());
  uint64_t remembered = 0;
  for (int trial = 0; trial < trials; trial++) {
    Place place;
    uint64_t writes = random();
    pid_t writer = start([&] { write_for_ever(place.device.path(), writes); });
    for (int kills = 0; kills < 6; kills++) {
      copy_and_kill(place, static_cast<useconds_t>(random() % 3000));
      usleep(static_cast<useconds_t>(random() % 3000));
    }
    end(writer);
    auto tap = place.open();
    remembered += check_memory(*tap);
  }
  printf("# %lu blocks remembered, of %lu\n", remembered, trials * kBlocks);
  CHECK(remembered > trials * kBlocks / 4 && remembered < trials * kBlocks);
}

void what_is_written_after_a_kill_is_known() {
  Place place;
  copy_and_kill(place, 20'000);
  CHECK(is_pinned(place));
  FileDescriptor fd(open(place.device.path().c_str(), O_RDWR | O_DIRECT | O_CLOEXEC));
  auto bytes = make_aligned_buffer(kBlock);
  memset(bytes.get(), 7, kBlock);
  CHECK(pwrite(fd.get(), bytes.get(), kBlock, 100 * kBlock) == kBlock);
  auto tap = place.open();
  CHECK(tap->tracking()->dirty().test(100));
  CHECK(check_memory(*tap) == kBlocks - 1);
}

void nothing_is_left_when_it_is_closed() {
  Place place;
  copy_and_kill(place, 20'000);
  place.open();
  CHECK(!is_pinned(place));
  auto tap = place.open();
  CHECK(tap->tracking()->remembered() == 0);
}

void forgets(const char* what, void (*change)(const Place&)) {
  Place place;
  copy_and_kill(place, 20'000);
  change(place);
  CHECK(check_memory(*place.open()) == 0);
  CHECK(!is_pinned(place));
  printf("ok forgets: %s\n", what);
}

void remove_pins(const Place& place) {
  for (const auto& pins : pins_of(place)) CHECK(BpfPins::remove(pins.name).ok());
}

void is_for_one_process() {
  Place place;
  auto tap = place.open();
  auto pins = pins_of(place);
  CHECK(pins.size() == 1 && pins[0].in_use);
  CHECK(BpfPins::remove(pins[0].name).code == Code::busy);
  std::shared_ptr<Tap> second;
  Status status = open_bpf_tap(place.device.path(), place.folder / "other", kBlock, &second);
  CHECK(status.code == Code::busy);
}

void others_may_list_at_the_same_time() {
  Place place;
  copy_and_kill(place, 20'000);
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) BpfPins::list();
  });
  int in_use = 0;
  for (int i = 0; i < 2000; i++) in_use += pins_of(place).at(0).in_use;
  done = true;
  other.join();
  CHECK(in_use == 0);
  remove_pins(place);
}

}  // namespace

int main(int argc, char** argv) {
  if (const char* why = bpf_obstacle()) {
    printf("skip bpf kept: %s\n", why);
    return 0;
  }
  int times = argc > 1 ? atoi(argv[1]) : 1;
  RUN(is_for_one_process());
  RUN(others_may_list_at_the_same_time());
  RUN(what_is_written_after_a_kill_is_known());
  RUN(nothing_is_left_when_it_is_closed());
  forgets("pins that were removed", remove_pins);
  forgets("a tap with another map file meanwhile",
          [](const Place& place) { open_bpf_tap(place.device.path(), place.folder / "other"); });
  forgets("a copy of the map file", [](const Place& place) {
    std::filesystem::copy_file(place.map, place.map + ".copy");
    std::filesystem::rename(place.map + ".copy", place.map);
  });
  forgets("a map file that an nbd tap has used", [](const Place& place) {
    FileOriginOptions options;
    options.path = place.device.path();
    options.lock = false;
    std::unique_ptr<Origin> origin;
    CHECK(open_file_origin(options, &origin).ok());
    std::shared_ptr<Tracking> tracking;
    CHECK(Tracking::open(place.map, *origin, kBlock, &tracking).ok());
    tracking->close(*origin);
  });
  RUN(what_is_remembered_after_kills_is_what_the_device_holds(12 * times));
}
