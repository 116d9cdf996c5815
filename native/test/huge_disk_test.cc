// A disk of 8 TiB with next to nothing in it: what a migration holds in memory goes by what is in the disk.
#include <sys/stat.h>

#include "test/check.h"
#include "test/migration_pair.h"
#include "test/resident.h"

using namespace blockferry;

namespace {

constexpr uint64_t kSize = 1ull << 43;
constexpr uint64_t kPlaces[] = {0, 4096, 1ull << 40, (1ull << 42) + (5 << 20), kSize - 4096};
constexpr uint64_t kElsewhere = 3ull << 40;

Disk sparse(const std::string& path) {
  FileOriginOptions options;
  options.path = path;
  options.create_size = kSize;
  options.holes = Holes::trust;  // whatever the tests run on
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  return Disk(std::move(origin));
}

void write_at(Tap& tap, uint64_t offset, uint8_t value) {
  std::vector<uint8_t> block(4096, value);
  write_through(tap, block.data(), offset, block.size());
}

uint64_t allocated(const std::string& path) {
  struct stat info;
  CHECK(stat(path.c_str(), &info) == 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

// `old`: the destination holds something at one place, and the source is told what is there.
void move(uint32_t block_size, bool old) {
  TemporaryFolder folder;
  std::vector<Disk> sources, targets;
  sources.push_back(sparse(folder / "source"));
  targets.push_back(sparse(folder / "target"));
  Tap& source = *sources[0].tap;
  for (uint64_t place : kPlaces) write_at(source, place, 1);
  if (old) write_at(*targets[0].tap, kElsewhere, 9);
  long before = resident_kib();
  Pair pair(sources, targets, block_size, 4, old);
  pair.sender.start();
  pair.bulk.wait(1);
  pair.sender.mark(1);
  pair.verified.wait(1);
  write_at(source, kPlaces[2], 2);
  // What the destination held there is gone by now.
  if (old) write_at(source, kElsewhere, 9);
  pair.sender.finish(2);
  pair.verified.wait(2);
  CHECK(grew_less(before, 96 << 10));
  CHECK(pair.wrong.empty() && pair.session->missing(0) == 0);
  CHECK(pair.session->digest(0) == pair.sender.digest(0) && pair.sender.digest(0) != 0);
  std::vector<uint64_t> places(std::begin(kPlaces), std::end(kPlaces));
  places.push_back(kElsewhere);
  for (uint64_t at : places) {
    std::vector<uint8_t> left(4096), right(4096);
    CHECK(source.origin().read(left.data(), at, 4096).ok());
    CHECK(targets[0].tap->origin().read(right.data(), at, 4096).ok());
    CHECK(left == right);
  }
  CHECK(allocated(folder / "target") < 8 << 20);
  SentDiskStats sent = pair.sender.stats().disks[0];
  CHECK(sent.content_bytes + sent.zero_bytes + sent.same_bytes >= kSize);
  CHECK(sent.content_bytes < 8 << 20);
}

}  // namespace

int main() {
  RUN(move(4096, false));
  RUN(move(64 << 10, false));
  RUN(move(4096, true));
}
