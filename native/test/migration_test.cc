// Sender and receiver over loopback, in one process, under writers: whole disks are compared.
// sanitizers: address, thread
#include <array>
#include <random>
#include <thread>

#include "test/check.h"
#include "test/migration_pair.h"

using namespace blockferry;

namespace {

void move_under_writers(uint64_t seed, unsigned streams, int compression, uint32_t block_size,
                        uint32_t defer) {
  std::vector<Disk> sources{Disk(40 * 1000 * 1000 / 512 * 512), Disk(17 << 20)};
  std::vector<Disk> targets{Disk(40 * 1000 * 1000 / 512 * 512), Disk(17 << 20)};
  fill(*sources[0].tap, seed, 0.5);
  fill(*sources[1].tap, seed + 1, 0.1);
  Pair pair(sources, targets, block_size, streams);
  pair.sender.set_compression(compression);
  pair.sender.set_defer(defer);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (unsigned w = 0; w < 2; w++) {
    writers.emplace_back([&, w] {
      std::mt19937_64 random(seed * 7 + w);
      std::vector<uint8_t> data(256 << 10);
      while (!stop.load()) {
        Tap& tap = *sources[w].tap;
        uint64_t length = 512 * (1 + random() % (random() % 8 == 0 ? 512 : 16));
        uint64_t offset = random() % (tap.origin().size() - length) / 512 * 512;
        memset(data.data(), random() % 8 == 0 ? 0 : static_cast<int>(random()), length);
        write_through(tap, data.data(), offset, length);
      }
    });
  }
  pair.sender.start();
  pair.bulk.wait(1);
  uint64_t number = 0;
  for (int i = 0; i < 3; i++) {
    pair.sender.mark(++number);
    pair.verified.wait(static_cast<int>(number));
    CHECK(pair.wrong.empty());
  }
  for (auto& disk : sources) disk.tap->hold();
  for (auto& disk : sources) CHECK(disk.tap->wait_drained(std::chrono::seconds(30)));
  pair.sender.finish(++number);
  pair.verified.wait(static_cast<int>(number));
  CHECK(pair.wrong.empty());
  for (uint32_t i = 0; i < sources.size(); i++) {
    CHECK(pair.session->missing(i) == 0);
    CHECK(pair.sender.digest(i) == pair.session->digest(i));
    CHECK(
        equal(sources[i].tap->origin(), targets[i].tap->origin(), sources[i].tap->origin().size()));
  }
  for (const SentDiskStats& disk : pair.sender.stats().disks) {
    CHECK(disk.dirty_bytes == 0 && disk.pending_bytes == 0);
  }
  stop = true;
  for (auto& disk : sources) disk.tap->open();
  for (auto& writer : writers) writer.join();
}

// A destination that changes behind our back is found by the reading again.
void find_wrong_blocks() {
  std::vector<Disk> sources{Disk(8 << 20)}, targets{Disk(8 << 20)};
  fill(*sources[0].tap, 5, 0.2);
  Pair pair(sources, targets, 4096, 2);
  pair.sender.start();
  pair.bulk.wait(1);
  pair.sender.mark(1);
  pair.verified.wait(1);
  CHECK(pair.wrong.empty());
  // Resend block 3 and 4, and damage block 3 between its arrival and the checkpoint.
  CHECK(pair.sender.mark_again(0, {3, 2}).ok());
  for (auto [disk, first, count] : {std::array<uint64_t, 3>{1, 0, 1},
                                    {0, 2048, 1},
                                    {0, 0, 2049},
                                    {0, 1ull << 40, 1000},
                                    {0, 1, ~0ull}}) {
    Status status = pair.sender.mark_again(static_cast<uint32_t>(disk), {first, count});
    CHECK(status.code == Code::protocol);
  }
  while (pair.sender.stats().disks[0].dirty_bytes != 0 ||
         pair.session->stats().unverified_bytes < 8192) {
    std::this_thread::yield();
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  uint8_t junk[16] = "junk";
  CHECK(targets[0].tap->origin().write(junk, 3 * 4096 + 100, sizeof junk, false).ok());
  pair.sender.mark(2);
  pair.verified.wait(2);
  CHECK(pair.wrong.size() == 1);
  CHECK(pair.wrong[0].blocks.first == 3 && pair.wrong[0].blocks.count == 1);
  CHECK(pair.session->missing(0) == 1);
  CHECK(pair.sender.mark_again(0, pair.wrong[0].blocks).ok());
  pair.sender.finish(3);
  pair.verified.wait(3);
  CHECK(pair.wrong.empty() && pair.session->missing(0) == 0);
  CHECK(pair.sender.digest(0) == pair.session->digest(0));
  CHECK(equal(sources[0].tap->origin(), targets[0].tap->origin(), 8 << 20));
}

// What was sent but not known to be durable is dirty again after a break.
void remark_after_break() {
  std::vector<Disk> sources{Disk(64 << 20)}, targets{Disk(64 << 20)};
  fill(*sources[0].tap, 9, 0);
  Pair pair(sources, targets, 4096, 2);
  pair.sender.set_bandwidth(50e6);
  pair.sender.start();
  while (pair.session->stats().content_bytes < (4 << 20)) std::this_thread::yield();
  pair.sender.mark(1);
  pair.verified.wait(1);
  while (pair.session->stats().content_bytes < (16 << 20)) std::this_thread::yield();
  pair.session->close();
  pair.failed.wait(1);
  CHECK(pair.sender_error.code == Code::peer_gone);
  uint64_t dirty = pair.sender.stats().disks[0].dirty_bytes;
  pair.sender.close();
  sources[0].tap->tracking()->remark_pending();
  SentDiskStats after = pair.sender.stats().disks[0];
  CHECK(after.pending_bytes == 0 && after.dirty_bytes > dirty);
  CHECK(after.dirty_bytes < (64 << 20));  // checkpoint 1 is kept
  CHECK(after.dirty_bytes >= (64 << 20) - after.content_bytes);
}

// The destination is through with a mark while a stream that has sent it has not said so yet: of the
// last mark nobody may be told too early, or never.
void marks_in_a_row() {
  std::vector<Disk> sources{Disk(1 << 20)}, targets{Disk(1 << 20)};
  Pair pair(sources, targets, 4096, 4);
  pair.sender.start();
  pair.bulk.wait(1);
  for (int i = 1; i <= 2000; i++) {
    pair.sender.mark(2 * i - 1);
    pair.verified.wait(2 * i - 1);
    uint8_t byte = 1;
    write_through(*sources[0].tap, &byte, i * 512, 1);
    pair.sender.finish(2 * i);
    pair.marked.wait(2 * i);
    CHECK(pair.sender.stats().disks[0].dirty_bytes == 0);
    pair.verified.wait(2 * i);
    CHECK(pair.wrong.empty());
    pair.sender.unfinish();
  }
}

// What was written while blocks had to be quiet for a short time goes though that is long now.
void silence_after_writes() {
  std::vector<Disk> sources{Disk(1 << 20)}, targets{Disk(1 << 20)};
  Pair pair(sources, targets, 4096, 2);
  pair.sender.set_defer(50);
  pair.sender.start();
  pair.bulk.wait(1);
  uint8_t byte = 1;
  for (int i = 0; i < 100; i++) write_through(*sources[0].tap, &byte, i * 4096, 1);
  pair.sender.set_defer(600'000);
  auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (pair.sender.stats().disks[0].dirty_bytes != 0) {
    CHECK(std::chrono::steady_clock::now() < limit);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

int main() {
  uint64_t seed = std::random_device{}();
  if (const char* given = getenv("SEED")) seed = strtoull(given, nullptr, 10);
  printf("seed %llu (repeat with SEED=…)\n", static_cast<unsigned long long>(seed));
  move_under_writers(seed, 1, 0, 4096, 0);
  puts("ok moved under writers, 1 stream");
  move_under_writers(seed + 1, 3, 0, 4096, 10);
  puts("ok moved under writers, 3 streams, hot blocks deferred");
  move_under_writers(seed + 2, 2, 1, 4096, 0);
  puts("ok moved under writers, 2 streams, compressed");
  move_under_writers(seed + 3, 4, 1, 1 << 20, 0);
  puts("ok moved under writers, 4 streams, blocks of 1 MiB");
  marks_in_a_row();
  puts("ok marks in a row are told of once each");
  silence_after_writes();
  puts("ok what was written goes when the writers fall silent");
  find_wrong_blocks();
  puts("ok blocks that differ at the destination are named and sent again");
  remark_after_break();
  puts("ok unacknowledged blocks are dirty again after a break");
}
