// What is tracked in a map file, when the process that tracks is killed: whatever is remembered then
// is what the disk holds. And all that must not be trusted.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "disk/block_hash.h"
#include "disk/disk_witness.h"
#include "test/map_files.h"
#include "test/nbd/test_origin.h"

using namespace blockferry;

namespace {

// Mostly in the first MiB, as guests do: there, blocks are written over and over while they are sent.
void write_at_random(Tap& tap, uint64_t seed, const std::atomic<bool>& stop) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> bytes(8 * kBlock / sizeof(uint64_t));
  while (!stop.load()) {
    for (auto& word : bytes) word = random();
    uint64_t length = 512 * (1 + random() % 64);
    uint64_t space = random() % 16 == 0 ? kSize : 1 << 20;
    write_through(tap, bytes.data(), 512 * (random() % ((space - length) / 512)), length);
    if (random() % 4 == 0) usleep(500);
  }
}

// Migrates under writers, checkpoint after checkpoint, until it is killed.
[[noreturn]] void migrate_until_killed(const Paths& paths, uint64_t seed, int told) {
  std::vector<Disk> sources{open_tap(paths)}, targets{Disk(kSize)};
  Pair pair(sources, targets, kBlock, 2);
  std::atomic<bool> stop{false};
  std::thread first([&] { write_at_random(*sources[0].tap, seed, stop); });
  std::thread second([&] { write_at_random(*sources[0].tap, seed + 1, stop); });
  pair.sender.start();
  for (uint64_t mark = 1;; mark++) {
    pair.sender.mark(mark);
    pair.verified.wait(static_cast<int>(mark));
    if (mark == 2) CHECK(write(told, "", 1) == 1);
  }
}

// The sender's steps and no more, so that a kill falls between any two of them.
[[noreturn]] void claim_until_killed(const Paths& paths, uint64_t seed, int told) {
  Disk disk = open_tap(paths);
  auto tracking = disk.tap->tracking();
  tracking->begin_session(false);
  std::mt19937_64 random(seed);
  std::vector<uint64_t> bytes(kBlock / sizeof(uint64_t));
  for (uint64_t turn = 0, mark = 0;; turn++) {
    for (int writes = 0; writes < 4; writes++) {
      bytes[0] = random();
      write_through(*disk.tap, bytes.data(), random() % 16 * kBlock, kBlock);
    }
    while (auto run = tracking->claim({0, kBlocks}, 8, false, mark)) {
      for (uint64_t block = run->first; block < run->end(); block++) {
        CHECK(disk.tap->origin().read(bytes.data(), block * kBlock, kBlock).ok());
        hash_blocks(reinterpret_cast<uint8_t*>(bytes.data()), kBlock, kBlock, &bytes[1]);
        tracking->hashes().set(block, bytes[1]);
      }
    }
    if (turn % 4 == 0) tracking->pending(mark++).clear_all();
    if (turn == 0) CHECK(write(told, "", 1) == 1);
  }
}

// Every block that is remembered holds what its hash says. Answers how many those are.
uint64_t check_memory(Tap& tap) {
  auto tracking = tap.tracking();
  uint64_t remembered = tracking->remembered();
  auto known = tracking->begin_session(true);
  if (!known) return 0;
  CHECK(known->count() == remembered);
  std::vector<uint8_t> bytes(kBlock);
  for (uint64_t block = 0; block < kBlocks; block++) {
    if (!known->test(block)) continue;
    uint64_t hash = 0;
    CHECK(tap.origin().read(bytes.data(), block * kBlock, kBlock).ok());
    hash_blocks(bytes.data(), kBlock, kBlock, &hash);
    CHECK(hash == tracking->hashes().get(block));
  }
  return remembered;
}

using Victim = void (*)(const Paths& paths, uint64_t seed, int told);

// Answers whether anything was remembered.
bool kill_once(Victim victim, uint64_t seed) {
  TemporaryFolder folder;
  Paths paths(folder);
  { open_disk(paths); }
  int pipe_ends[2];
  CHECK(pipe(pipe_ends) == 0);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) victim(paths, seed, pipe_ends[1]);
  close(pipe_ends[1]);
  char byte;
  CHECK(read(pipe_ends[0], &byte, 1) == 1);
  close(pipe_ends[0]);
  usleep(static_cast<useconds_t>(seed % 5'000));
  kill(child, SIGKILL);
  CHECK(waitpid(child, nullptr, 0) == child);
  Disk disk = open_tap(paths);
  return check_memory(*disk.tap) > 0;
}

void killed_at_any_moment(Victim victim, uint64_t seed, int times) {
  int remembered = 0;
  for (int i = 0; i < times; i++)
    remembered += kill_once(victim, seed + static_cast<uint64_t>(i) * 7919);
  printf("after %d of %d kills something was remembered\n", remembered, times);
  CHECK(remembered > 0);
}

// A disk that was migrated, and whose tap was closed.
bool trusted(const Paths& paths) {
  Disk disk = open_tap(paths);
  return check_memory(*disk.tap) == kBlocks;
}

void change_file(const std::string& path, off_t offset) {
  FileDescriptor fd(open(path.c_str(), O_RDWR));
  uint8_t byte = 0;
  CHECK(pread(fd.get(), &byte, 1, offset) == 1);
  byte ^= 1;
  CHECK(pwrite(fd.get(), &byte, 1, offset) == 1);
}

void trusts_no_other(const char* what, const std::function<void(const Paths&)>& change) {
  TemporaryFolder folder;
  Paths paths(folder);
  migrate_and_close(paths);
  CHECK(trusted(paths));
  change(paths);
  {
    Disk disk = open_tap(paths);
    CHECK(check_memory(*disk.tap) == 0);
    CHECK(disk.tap->tracking()->dirty().count() == kBlocks);
  }
  printf("ok forgets: %s\n", what);
}

void is_kept_by_an_honest_close() {
  TemporaryFolder folder;
  Paths paths(folder);
  migrate_and_close(paths);
  for (int i = 0; i < 3; i++) CHECK(trusted(paths));
  {
    Disk disk = open_tap(paths);
    uint8_t byte = 1;
    write_through(*disk.tap, &byte, 5 * kBlock, 1);
  }
  Disk disk = open_tap(paths);
  CHECK(check_memory(*disk.tap) == kBlocks - 1);
  CHECK(disk.tap->tracking()->dirty().test(5));
}

// A file as it was when the last write landed, when a snapshot was taken before that, and as somebody
// left it later. All in seconds.
void tells_when_a_file_was_changed() {
  auto unchanged = [](uint64_t changed, uint64_t landed, uint64_t stamp) {
    constexpr uint64_t kSecond = 1'000'000'000;
    DiskState state{true, true, changed * kSecond, 0};
    return unchanged_since(state, landed * kSecond, stamp * kSecond);
  };
  CHECK(unchanged(100, 100, 101));
  CHECK(unchanged(100, 0, 101));
  CHECK(!unchanged(90, 100, 101));
  CHECK(!unchanged(102, 100, 101));
}

// What the page cache could not write back may be gone.
void forgets_when_the_disk_takes_no_flush() {
  TemporaryFolder folder;
  Paths paths(folder);
  migrate_and_close(paths);
  {
    auto origin = open_disk(paths);
    auto tracking = open_tracking(paths, *origin);
    CHECK(tracking->remembered() == kBlocks);
    TestOrigin broken(kSize);
    broken.fail_with(Status::failure(Code::io_error, "no space", EIO));
    tracking->close(broken);
  }
  Disk disk = open_tap(paths);
  CHECK(check_memory(*disk.tap) == 0);
}

void is_for_one_process() {
  TemporaryFolder folder;
  Paths paths(folder);
  auto origin = open_disk(paths);
  auto tracking = open_tracking(paths, *origin);
  std::shared_ptr<Tracking> second;
  CHECK(Tracking::open(paths.map, *origin, kBlock, &second).code == Code::busy);
}

void leaves_other_files_alone() {
  TemporaryFolder folder;
  Paths paths(folder);
  auto origin = open_disk(paths);
  FILE* file = fopen(paths.map.c_str(), "w");
  fputs("my diary", file);
  fclose(file);
  std::shared_ptr<Tracking> tracking;
  CHECK(Tracking::open(paths.map, *origin, kBlock, &tracking).code == Code::refused);
  struct stat info;
  CHECK(stat(paths.map.c_str(), &info) == 0 && info.st_size == 8);
}

void forgets_what_came_by_migration() {
  TemporaryFolder folder;
  Paths paths(folder);
  migrate_and_close(paths);
  {
    std::vector<Disk> sources{Disk(kSize)}, targets{open_tap(paths)};
    fill(*sources[0].tap, 2, 0);
    Pair pair(sources, targets, kBlock, 1);
    pair.sender.start();
    pair.sender.finish(1);
    pair.verified.wait(1);
  }
  Disk disk = open_tap(paths);
  CHECK(check_memory(*disk.tap) == 0);
}

// More writes at once than there are slots for.
void forgets_when_too_much_is_in_flight() {
  TemporaryFolder folder;
  Paths paths(folder);
  migrate_and_close(paths);
  Disk disk = open_tap(paths);
  std::vector<Tap::Ticket> tickets(WritesInFlight::kSlots + 1);
  for (auto& ticket : tickets) {
    CHECK(disk.tap->admit(ticket, 0, kBlock).answer == Admission::Answer::go);
  }
  for (auto& ticket : tickets) disk.tap->finished(ticket, 0, kBlock);
  CHECK(disk.tap->tracking()->remembered() == 0);
  CHECK(check_memory(*disk.tap) == 0);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t seed = std::random_device{}();
  if (const char* given = getenv("SEED")) seed = strtoull(given, nullptr, 10);
  printf("seed %llu (repeat with SEED=…)\n", static_cast<unsigned long long>(seed));
  int times = argc > 1 ? atoi(argv[1]) : 1;
  killed_at_any_moment(migrate_until_killed, seed, 60 * times);
  puts("ok what is remembered after a kill is what the disk holds");
  killed_at_any_moment(claim_until_killed, seed, 200 * times);
  puts("ok the same, at every step of a claim");
  is_kept_by_an_honest_close();
  puts("ok an honest close keeps everything");
  tells_when_a_file_was_changed();
  puts("ok tells when a file was changed");
  forgets_when_the_disk_takes_no_flush();
  puts("ok forgets when the disk takes no flush");
  is_for_one_process();
  puts("ok one process at a time");
  leaves_other_files_alone();
  puts("ok leaves other files alone");
  forgets_what_came_by_migration();
  puts("ok forgets what came by migration");
  forgets_when_too_much_is_in_flight();
  puts("ok forgets when more is in flight than it can name");
  trusts_no_other("a disk that was written past its tap", [](const Paths& paths) {
    usleep(20'000);
    change_file(paths.disk, 0);
  });
  trusts_no_other("another disk of the same name", [](const Paths& paths) {
    CHECK(system(("cp " + paths.disk + " " + paths.disk + ".2 && mv " + paths.disk + ".2 " +
                  paths.disk)
                     .c_str()) == 0);
  });
  trusts_no_other("another layout", [](const Paths& paths) { change_file(paths.map, 7); });
  trusts_no_other("another boot", [](const Paths& paths) { change_file(paths.map, 24 + 3); });
  trusts_no_other("a clock that was set",
                  [](const Paths& paths) { change_file(paths.map, 24 + 40 + 5); });
  trusts_no_other("blocks of another size", [](const Paths& paths) {
    auto origin = open_disk(paths);
    CHECK(open_tracking(paths, *origin, 2 * kBlock)->remembered() == 0);
  });
}
