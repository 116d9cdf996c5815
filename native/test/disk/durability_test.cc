// What is said to be durable is: on a device that loses pages after it has taken them, and with flushes
// that fail once, are slow, come at once.
// sanitizers: address, thread
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "disk/io_queue.h"
#include "disk/open_watch.h"
#include "disk/origin.h"
#include "test/descriptor_limit.h"
#include "test/losing_device.h"

using namespace blockferry;

namespace {

constexpr uint64_t kFar = 8 << 20;  // nothing that is written here stays
constexpr uint64_t kLot = 8 << 20;

// What the kernel is asked instead, when it is set.
std::function<int(int fd)> instead_of_fdatasync;
std::set<ino_t> synced;  // by fsync()

}  // namespace

extern "C" int fdatasync(int fd) {
  if (instead_of_fdatasync) return instead_of_fdatasync(fd);
  return static_cast<int>(syscall(SYS_fdatasync, fd));
}

extern "C" int fsync(int fd) {
  struct stat info;
  if (fstat(fd, &info) == 0) synced.insert(info.st_ino);
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace {

std::unique_ptr<Origin> open_origin(const FileOriginOptions& options) {
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  return origin;
}

Status run(IoQueue& queue, IoKind kind, uint64_t offset, void* buffer, uint64_t length,
           bool durable) {
  IoRequest request;
  request.kind = kind;
  request.offset = offset;
  request.buffer = buffer;
  request.length = length;
  request.durable = durable;
  queue.submit(&request);
  while (queue.reap() == nullptr) usleep(100);
  return request.status;
}

// Acknowledged, and then lost, which nobody of ours has been told yet.
void lose_pages(Origin& origin, const std::string& path) {
  std::vector<uint8_t> data(kLot, 65);
  CHECK(origin.write(data.data(), kFar, data.size(), false).ok());
  FileDescriptor other(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(other.open() && syscall(SYS_fdatasync, other.get()) != 0);
}

// No success that comes later hides what is lost: of a write that is to be durable the FLUSH behind it
// is told as well, and each one after that.
void fua_and_flush(bool threads) {
  LosingDevice device;
  auto origin = open_origin({.path = device.path()});
  auto queue = make_io_queue(*origin, 8, threads);
  CHECK(std::string(queue->backend()) == (threads ? "threads" : "io_uring"));
  lose_pages(*origin, device.path());
  std::vector<uint8_t> data(4096, 66);
  (void)run(*queue, IoKind::write, 0, data.data(), data.size(), true);
  for (int again = 0; again < 3; again++) {
    CHECK(run(*queue, IoKind::flush, 0, nullptr, 0, false).code == Code::io_error);
    (void)run(*queue, IoKind::write, 0, data.data(), data.size(), true);
  }
}

// The page that is lost is the write's own.
void fua_of_what_is_lost(bool threads) {
  LosingDevice device;
  auto origin = open_origin({.path = device.path()});
  auto queue = make_io_queue(*origin, 8, threads);
  std::vector<uint8_t> data(kLot, 67);
  CHECK(!run(*queue, IoKind::write, kFar, data.data(), data.size(), true).ok());
  CHECK(!run(*queue, IoKind::flush, 0, nullptr, 0, false).ok());
}

// All of these at once, again and again: each is told.
void at_once(int flushes, int writes) {
  LosingDevice device;
  lose_pages(*open_origin({.path = device.path()}), device.path());  // no room is left
  for (int turn = 0; turn < 50; turn++) {
    auto origin = open_origin({.path = device.path()});
    std::vector<uint8_t> data(kLot, static_cast<uint8_t>(turn + 1));
    CHECK(origin->write(data.data(), kFar, data.size(), false).ok());
    std::barrier begin(flushes + writes);
    std::atomic<int> told{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < flushes; i++) {
      threads.emplace_back([&] {
        begin.arrive_and_wait();
        told += !origin->flush().ok();
      });
    }
    for (int i = 0; i < writes; i++) {
      threads.emplace_back([&, i] {
        std::vector<uint8_t> own(64 << 10, 9);
        begin.arrive_and_wait();
        told += !origin->write(own.data(), 2 * kFar + i * own.size(), own.size(), true).ok();
      });
    }
    for (auto& thread : threads) thread.join();
    CHECK(told == flushes + writes);
    CHECK(!origin->flush().ok());
  }
}

// Without a descriptor of its own to be had, a durable write is one all the same.
void fua_without_descriptors() {
  LosingDevice device;
  auto origin = open_origin({.path = device.path()});
  NoDescriptors none;
  std::vector<uint8_t> data(kLot, 5);
  CHECK(origin->write(data.data(), 0, 4096, true).ok());
  CHECK(!origin->write(data.data(), kFar, data.size(), true).ok());
}

// After a flush that failed once: where the page cache may have dropped a page all others fail, else
// each answers for itself.
void a_failure_that_passes() {
  TemporaryFolder folder;
  for (bool direct : {false, true}) {
    auto origin = open_origin({.path = folder / (direct ? "direct" : "cached"),
                               .direct = direct,
                               .create_size = 1 << 20});
    std::atomic<int> left{1};
    instead_of_fdatasync = [&](int) { return left-- > 0 ? (errno = ENOSPC, -1) : 0; };
    CHECK(origin->flush().code == Code::no_space);
    CHECK(origin->flush().ok() == direct);
    CHECK(origin->flush().ok() == direct);
    instead_of_fdatasync = nullptr;
  }
}

// Past the page cache, but for a part of a block that was zeroed: that waits there, and can be lost.
void a_failure_behind_a_part_that_was_zeroed(bool discarded) {
  TemporaryFolder folder;
  auto origin = open_origin({.path = folder / "disk", .direct = true, .create_size = 1 << 20});
  auto zero = [&](uint64_t offset, uint64_t length) {
    CHECK((discarded ? origin->discard(offset, length)
                     : origin->write_zeroes(offset, length, ZeroMode::may_trim, false))
              .ok());
  };
  std::atomic<int> left{1};
  instead_of_fdatasync = [&](int) { return left-- > 0 ? (errno = ENOSPC, -1) : 0; };
  zero(8192, 4096);
  CHECK(origin->flush().code == Code::no_space && origin->flush().ok());
  zero(512, 512);
  left = 1;
  for (int i = 0; i < 3; i++) CHECK(origin->flush().code == Code::no_space);
  instead_of_fdatasync = nullptr;
}

bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string line;
  std::getline(file, line);
  size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") S") == 0;
}

// A flush that was asked for while another runs doesn't take that one's answer; those that wait share one.
void joined() {
  constexpr int kLater = 8;
  TemporaryFolder folder;
  auto origin = open_origin({.path = folder / "disk", .create_size = 1 << 20});
  std::mutex mutex;
  std::condition_variable changed;
  int calls = 0, let = 0;
  instead_of_fdatasync = [&](int) {
    std::unique_lock lock(mutex);
    int mine = ++calls;
    changed.notify_all();
    changed.wait(lock, [&] { return let >= mine; });
    return 0;
  };
  auto allow = [&](int count) {
    std::lock_guard lock(mutex);
    let = count;
    changed.notify_all();
  };
  std::atomic<int> done{0};
  std::atomic<pid_t> asking[kLater] = {};
  auto flush = [&](std::atomic<pid_t>* thread) {
    if (thread != nullptr) thread->store(gettid());
    CHECK(origin->flush().ok());
    done++;
  };
  std::thread first(flush, nullptr);
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return calls == 1; });
  }
  std::vector<std::thread> later;
  for (auto& thread : asking) later.emplace_back(flush, &thread);
  for (auto& thread : asking) {
    while (thread.load() == 0 || !sleeps(thread.load())) usleep(100);
  }
  allow(1);
  first.join();
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return calls == 2; });
  }
  CHECK(done == 1);
  allow(2);
  for (auto& thread : later) thread.join();
  CHECK(calls == 2);
  instead_of_fdatasync = nullptr;
}

void a_created_file_keeps_its_name() {
  TemporaryFolder folder;
  struct stat info;
  CHECK(stat(folder.path().c_str(), &info) == 0);
  synced.clear();
  open_origin({.path = folder / "made", .create_size = 1 << 20});
  CHECK(synced.contains(info.st_ino));
}

// However many are under way: to who watches the file nobody else has written it.
void durable_writes_are_no_others() {
  TemporaryFolder folder;
  auto origin = open_origin({.path = folder / "disk", .create_size = 1 << 20});
  auto watch = OpenWatch::on(origin->descriptor());
  CHECK(watch != nullptr);
  constexpr int kWriters = 32;
  std::barrier begin(kWriters);
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; i++) {
    writers.emplace_back([&, i] {
      std::vector<char> bytes(4096, 'x');
      begin.arrive_and_wait();
      for (int n = 0; n < 4; n++)
        CHECK(origin->write(bytes.data(), i * bytes.size(), bytes.size(), true).ok());
    });
  }
  for (auto& writer : writers) writer.join();
  CHECK(!watch->seen().written);
  std::ofstream(folder / "disk", std::ios::in | std::ios::out) << "another";
  CHECK(watch->seen().written);
}

}  // namespace

int main() {
  for (bool threads : {false, true}) {
    fua_and_flush(threads);
    fua_of_what_is_lost(threads);
    puts(threads ? "ok lost pages, by threads" : "ok lost pages, by io_uring");
  }
  RUN(at_once(2, 0));
  RUN(at_once(8, 0));
  RUN(at_once(2, 2));
  RUN(at_once(0, 4));
  RUN(a_failure_that_passes());
  for (bool discarded : {false, true}) RUN(a_failure_behind_a_part_that_was_zeroed(discarded));
  RUN(joined());
  RUN(a_created_file_keeps_its_name());
  RUN(durable_writes_are_no_others());
  RUN(fua_without_descriptors());
}
