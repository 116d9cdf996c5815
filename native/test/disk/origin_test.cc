// Origins on real files: what is read is what was written, holes are found, and every kind of
// failure is an error, never data.
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/file_descriptor.h"
#include "disk/io_queue.h"
#include "disk/origin.h"
#include "test/check.h"
#include "test/temporary_folder.h"

using namespace blockferry;

namespace {

const TemporaryFolder folder;

std::string path(const char* name) { return folder / name; }

void make_file(const std::string& where, uint64_t size) {
  int fd = open(where.c_str(), O_CREAT | O_TRUNC | O_RDWR, 0600);
  CHECK(fd >= 0 && ftruncate(fd, static_cast<off_t>(size)) == 0);
  close(fd);
}

std::unique_ptr<Origin> open_ok(FileOriginOptions options) {
  std::unique_ptr<Origin> origin;
  Status status = open_file_origin(options, &origin);
  if (!status.ok()) fprintf(stderr, "%s\n", status.operation.c_str());
  CHECK(status.ok());
  return origin;
}

Code open_code(FileOriginOptions options) {
  std::unique_ptr<Origin> origin;
  return open_file_origin(options, &origin).code;
}

void check_opening() {
  CHECK(open_code({.path = path("missing")}) == Code::not_found);
  CHECK(open_code({.path = folder.path()}) == Code::is_directory);
  CHECK(open_code({.path = "/dev/null"}) == Code::unsupported);
  make_file(path("odd"), 1000);
  CHECK(open_code({.path = path("odd")}) == Code::bad_size);
  make_file(path("empty"), 0);
  CHECK(open_code({.path = path("empty")}) == Code::bad_size);
  make_file(path("small"), 512);
  CHECK(open_code({.path = path("small"), .direct = true}) == Code::ok);
  auto created = open_ok({.path = path("created"), .create_size = 1 << 20});
  CHECK(created->size() == 1 << 20 && created->blank());
  // One writer, or several readers.
  CHECK(open_code({.path = path("created")}) == Code::busy);
  CHECK(open_code({.path = path("created"), .read_only = true}) == Code::busy);
  CHECK(open_code({.path = path("created"), .lock = false}) == Code::ok);
  created.reset();
  auto reader = open_ok({.path = path("created"), .read_only = true});
  CHECK(open_code({.path = path("created"), .read_only = true}) == Code::ok);
  CHECK(open_code({.path = path("created")}) == Code::busy);
}

void check_bytes(bool direct, uint64_t seed) {
  constexpr uint64_t kSize = 4 << 20;
  make_file(path("bytes"), kSize);
  auto origin = open_ok({.path = path("bytes"), .direct = direct});
  uint64_t unit = std::max<uint64_t>(origin->alignment(), 512);
  std::vector<uint8_t> model(kSize);
  auto buffer = make_aligned_buffer(1 << 20);
  std::mt19937_64 random(seed);
  for (int step = 0; step < 600; step++) {
    uint64_t length = unit * (1 + random() % (256 * 512 / unit));
    uint64_t offset = random() % (kSize / unit) * unit;
    length = std::min(length, kSize - offset);
    switch (random() % 6) {
      case 0:
        CHECK(origin->write_zeroes(offset, length, ZeroMode::may_trim, false).ok());
        memset(model.data() + offset, 0, length);
        break;
      case 1:
        CHECK(origin->write_zeroes(offset, length, ZeroMode::keep_space, false).ok());
        memset(model.data() + offset, 0, length);
        break;
      case 2:
        CHECK(origin->discard(offset, length).ok());
        memset(model.data() + offset, 0, length);  // a file's discarded range reads as zeroes
        break;
      case 3:
        CHECK(origin->read(buffer.get(), offset, length).ok());
        CHECK(memcmp(buffer.get(), model.data() + offset, length) == 0);
        CHECK(origin->flush().ok());
        CHECK(origin->reread(buffer.get(), offset, length).ok());
        CHECK(memcmp(buffer.get(), model.data() + offset, length) == 0);
        break;
      default:
        for (uint64_t i = 0; i < length; i++) buffer[i] = static_cast<uint8_t>(random());
        CHECK(origin->write(buffer.get(), offset, length, random() % 4 == 0).ok());
        memcpy(model.data() + offset, buffer.get(), length);
    }
  }
  // A hole never covers what holds data.
  for (uint64_t at = 0; at < kSize; at += 4096) {
    uint64_t hole = 0;
    CHECK(origin->hole_at(at, 4096, &hole).ok());
    OriginExtent extent;
    CHECK(origin->extent_at(at, kSize - at, &extent).ok());
    CHECK(extent.length >= 1 && extent.length <= kSize - at);
    uint64_t empty = extent.hole ? extent.length : hole;
    for (uint64_t i = 0; i < empty; i++) CHECK(model[at + i] == 0);
  }
}

void check_holes() {
  constexpr uint64_t kSize = 8 << 20;
  make_file(path("holes"), kSize);
  auto origin = open_ok({.path = path("holes"), .holes = Holes::trust});
  std::vector<uint8_t> data(1 << 20, 7);
  CHECK(origin->write(data.data(), 2 << 20, data.size(), false).ok());
  uint64_t hole = 1;
  CHECK(origin->hole_at(0, kSize, &hole).ok() && hole == 2 << 20);
  CHECK(origin->hole_at(2 << 20, kSize - (2 << 20), &hole).ok() && hole == 0);
  CHECK(origin->hole_at(3 << 20, kSize - (3 << 20), &hole).ok() && hole == 5 << 20);
  OriginExtent extent;
  CHECK(origin->extent_at(2 << 20, 6 << 20, &extent).ok());
  CHECK(!extent.hole && extent.length == 1 << 20);
  auto reading = open_ok({.path = path("holes"), .lock = false, .holes = Holes::read});
  CHECK(reading->hole_at(0, kSize, &hole).ok() && hole == 0);
  CHECK(reading->extent_at(0, kSize, &extent).ok() && !extent.hole);
}

// A file that was cut short is an error wherever its end is missed, never zeroes.
void check_cut_short() {
  make_file(path("cut"), 1 << 20);
  auto origin = open_ok({.path = path("cut"), .holes = Holes::trust});
  CHECK(truncate(path("cut").c_str(), 1 << 19) == 0);
  std::vector<uint8_t> data(1 << 20);
  CHECK(origin->read(data.data(), 0, 1 << 19).ok());
  CHECK(origin->read(data.data(), 0, 1 << 20).code == Code::short_read);
  CHECK(origin->read(data.data(), 600 << 10, 4096).code == Code::short_read);
  uint64_t hole = 0;
  CHECK(origin->hole_at(600 << 10, 4096, &hole).code == Code::short_read);
  auto queue = make_io_queue(*origin, 4);
  IoRequest request;
  request.offset = (1 << 19) - 4096;
  request.length = 8192;
  request.buffer = data.data();
  queue->submit(&request);
  while (queue->reap() == nullptr) usleep(100);
  CHECK(request.status.code == Code::short_read);
}

void check_no_space() {
  signal(SIGXFSZ, SIG_IGN);
  make_file(path("limited"), 1 << 20);
  auto origin = open_ok({.path = path("limited")});
  rlimit limit = {1 << 16, RLIM_INFINITY};
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::vector<uint8_t> data(1 << 17, 1);
  // Half of it fits: that half must not pass for the whole.
  CHECK(origin->write(data.data(), 0, data.size(), false).code == Code::no_space);
  limit.rlim_cur = RLIM_INFINITY;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
  CHECK(origin->write(data.data(), 0, data.size(), false).ok());
}

bool kernel_has_io_uring() {
  io_uring_params params{};
  FileDescriptor ring(static_cast<int>(syscall(SYS_io_uring_setup, 1, &params)));
  return ring.open();
}

void check_queue(bool threads, bool direct) {
  constexpr uint64_t kSize = 2 << 20;
  constexpr unsigned kDepth = 32;
  make_file(path("queue"), kSize);
  auto origin = open_ok({.path = path("queue"), .direct = direct});
  auto queue = make_io_queue(*origin, kDepth, threads);
  CHECK(queue->backend() == std::string(threads ? "threads" : "io_uring"));
  auto buffer = make_aligned_buffer(kDepth * 65536);
  auto run = [&](IoKind kind) {
    std::vector<IoRequest> requests(kDepth);
    for (unsigned i = 0; i < kDepth; i++) {
      requests[i].kind = kind;
      requests[i].offset = i * 65536ull;
      requests[i].length = 65536;
      requests[i].buffer = buffer.get() + i * 65536ull;
      queue->submit(&requests[i]);
    }
    unsigned done = 0;
    while (done < kDepth) {
      if (IoRequest* request = queue->reap()) {
        CHECK(request->status.ok());
        done++;
      }
    }
    CHECK(queue->reap() == nullptr);
  };
  for (uint64_t i = 0; i < kDepth * 65536; i++)
    buffer[i] = static_cast<uint8_t>(i * 31 + i / 65536);
  run(IoKind::write);
  run(IoKind::flush);
  memset(buffer.get(), 0, kDepth * 65536);
  run(IoKind::read);
  for (uint64_t i = 0; i < kDepth * 65536; i++)
    CHECK(buffer[i] == static_cast<uint8_t>(i * 31 + i / 65536));
  run(IoKind::write_zeroes);
  run(IoKind::read);
  for (uint64_t i = 0; i < kDepth * 65536; i++) CHECK(buffer[i] == 0);
  // Destroying a queue waits for what was submitted.
  IoRequest last;
  last.kind = IoKind::write;
  last.length = 65536;
  memset(buffer.get(), 9, 65536);
  last.buffer = buffer.get();
  queue->submit(&last);
  queue.reset();
  CHECK(origin->read(buffer.get() + 65536, 0, 65536).ok());
  CHECK(buffer[65536] == 9 && buffer[2 * 65536 - 1] == 9);
}

}  // namespace

int main() {
  uint64_t seed = std::random_device{}();
  if (const char* given = getenv("SEED")) seed = strtoull(given, nullptr, 10);
  printf("seed %llu (repeat with SEED=…)\n", static_cast<unsigned long long>(seed));
  check_opening();
  puts("ok opening");
  check_bytes(false, seed);
  puts("ok bytes, buffered");
  check_bytes(true, seed);
  puts("ok bytes, direct");
  check_holes();
  puts("ok holes");
  check_cut_short();
  puts("ok a file cut short");
  check_no_space();
  puts("ok no space half-way");
  for (bool direct : {false, true}) check_queue(true, direct);
  puts("ok queues by threads, buffered and direct");
  if (!kernel_has_io_uring()) {
    puts("skip queues by io_uring: the kernel has none, or none for us");
    return 0;
  }
  for (bool direct : {false, true}) check_queue(false, direct);
  puts("ok queues by io_uring, buffered and direct");
}
