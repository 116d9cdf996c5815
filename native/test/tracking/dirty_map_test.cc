// The dirty map against a plain model, swept over sizes, block sizes and alignments, and under
// sanitizers: address, thread
// concurrent markers and claimers.
#include "tracking/dirty_map.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "test/check.h"
#include "test/resident.h"

using namespace blockferry;

static void sweep_marks(uint64_t size, uint32_t block_size) {
  std::mt19937_64 random(size * 31 + block_size);
  DirtyMap map(size, block_size);
  std::set<uint64_t> model;
  for (int step = 0; step < 200; step++) {
    uint64_t offset = random() % (size + block_size);
    uint64_t length = random() % 5 == 0 ? random() % size : random() % (3 * block_size);
    map.mark(offset, length);
    if (length != 0 && offset < size) {
      uint64_t end = std::min(size, offset + length);
      for (uint64_t b = offset / block_size; b <= (end - 1) / block_size; b++) model.insert(b);
    }
    CHECK(map.count() == model.size());
  }
  CHECK(map.marked() == model.size());
  for (uint64_t block = 0; block < map.blocks(); block++) {
    CHECK(map.test(block) == (model.count(block) == 1));
  }
  // Claims give each marked block once, in order, in runs not longer than asked.
  uint64_t at = 0;
  while (auto run = map.claim(at, map.blocks(), 7)) {
    CHECK(run->count >= 1 && run->count <= 7 && run->first >= at);
    for (uint64_t b = run->first; b < run->end(); b++) CHECK(model.erase(b) == 1);
    at = run->end();
  }
  CHECK(model.empty());
  CHECK(map.count() == 0);
  CHECK(!map.find(0, map.blocks(), 1));
}

static void check_ranges() {
  DirtyMap map(1 << 20, 4096);
  map.mark_blocks({10, 100});
  CHECK(!map.claim(0, 10, 50));
  auto run = map.claim(20, 40, 50);
  CHECK(run && run->first == 20 && run->count == 20);
  run = map.find(0, 256, 1000);
  CHECK(run && run->first == 10 && run->count == 10);
  CHECK(map.clear_blocks({0, 15}) == 5);
  run = map.claim(0, 256, 1000);
  CHECK(run && run->first == 15 && run->count == 5);
  run = map.claim(0, 256, 1000);
  CHECK(run && run->first == 40 && run->count == 70);
  map.mark_all();
  CHECK(map.count() == map.blocks());
  run = map.claim(0, map.blocks(), map.blocks());
  CHECK(run && run->count == map.blocks());
}

static void check_young() {
  DirtyMap map(1 << 24, 4096);
  map.track_young(true);
  map.mark(100 * 4096, 10 * 4096);
  CHECK(!map.claim(0, map.blocks(), 100, true));
  map.age();
  map.mark(104 * 4096, 2 * 4096);
  auto run = map.claim(0, map.blocks(), 100, true);
  CHECK(run && run->first == 100 && run->count == 4);
  run = map.claim(0, map.blocks(), 100, true);
  CHECK(run && run->first == 106 && run->count == 4);
  CHECK(!map.claim(0, map.blocks(), 100, true));
  run = map.claim(0, map.blocks(), 100, false);
  CHECK(run && run->first == 104 && run->count == 2);
  map.mark_blocks({200, 3});  // nobody has written these
  run = map.claim(0, map.blocks(), 100, true);
  CHECK(run && run->first == 200 && run->count == 3);
}

// Regions of 4096 blocks that become dirty and clean as a whole, or in part.
static void sweep_regions(uint64_t blocks, unsigned seed) {
  std::mt19937_64 random(seed);
  DirtyMap map(blocks * 4096, 4096);
  std::vector<bool> model(blocks);
  auto count = [&] { return static_cast<uint64_t>(std::count(model.begin(), model.end(), true)); };
  for (int step = 0; step < 400; step++) {
    uint64_t first = random() % 2 == 0 ? random() % blocks / 4096 * 4096 : random() % blocks;
    uint64_t length = random() % 2 == 0 ? (1 + random() % 3) * 4096 : 1 + random() % 200;
    uint64_t end = std::min(blocks, first + length);
    switch (random() % 4) {
      case 0:
        map.mark_blocks({first, length});
        std::fill(model.begin() + first, model.begin() + end, true);
        break;
      case 1:
        CHECK(map.clear_blocks({first, length}) ==
              static_cast<uint64_t>(std::count(model.begin() + first, model.begin() + end, true)));
        std::fill(model.begin() + first, model.begin() + end, false);
        break;
      case 2: {
        auto run = map.claim(first, blocks, length);
        auto at = std::find(model.begin() + first, model.end(), true);
        CHECK(run.has_value() == (at != model.end()));
        if (!run) break;
        CHECK(run->first == static_cast<uint64_t>(at - model.begin()));
        uint64_t stop = std::min(blocks, run->first + length);
        CHECK(run->count == static_cast<uint64_t>(std::find(at, model.begin() + stop, false) - at));
        std::fill(at, at + run->count, false);
        break;
      }
      default: {
        auto run = map.find(first, end, length);
        auto at = std::find(model.begin() + first, model.begin() + end, true);
        CHECK(run.has_value() == (at != model.begin() + end));
        if (!run) break;
        CHECK(run->first == static_cast<uint64_t>(at - model.begin()) && run->end() <= end);
        CHECK(run->count == static_cast<uint64_t>(std::find(at, model.begin() + end, false) - at));
        CHECK(map.covers(*run) && map.next(first) <= run->first);
        CHECK(run->end() == blocks || !map.covers({run->first, run->count + 1}) ||
              model[run->end()]);
      }
    }
    CHECK(map.count() == count());
  }
  for (uint64_t block = 0; block < blocks; block++) CHECK(map.test(block) == model[block]);
}

// A write into a region that is dirty as a whole adds nothing, and what is spread is not new.
static void check_marks_in_full_regions() {
  DirtyMap map(3 * 4096 * 4096ull, 4096);
  map.mark_all();
  map.mark(5000 * 4096, 4096);
  CHECK(map.count() == map.blocks() && map.marked() == map.blocks());
  auto run = map.claim(4096, map.blocks(), 10);
  CHECK(run && run->first == 4096 && run->count == 10);
  CHECK(map.count() == map.blocks() - 10 && map.marked() == map.blocks());
  map.mark(4096 * 4096, 4096);
  CHECK(map.test(4096) && !map.test(4097) && map.marked() == map.blocks() + 1);
}

// 8 TiB that are dirty cost next to nothing, and what is dirty in them is found.
static void check_large() {
  constexpr uint64_t kSize = 1ull << 43;
  long before = resident_kib();
  DirtyMap map(kSize, 4096);
  map.mark_all();
  CHECK(map.count() == 1ull << 31);
  auto run = map.claim(1ull << 30, map.blocks(), 5);
  CHECK(run && run->first == 1ull << 30 && run->count == 5);
  run = map.find(0, map.blocks(), map.blocks());
  CHECK(run && run->first == 0 && run->count == 1ull << 30);
  CHECK(map.clear_blocks({0, map.blocks()}) == (1ull << 31) - 5);
  CHECK(map.count() == 0 && map.next(0) == map.blocks());
  map.mark((1ull << 42) + 5, 1);
  run = map.claim(0, map.blocks(), 256);
  CHECK(run && run->first == 1ull << 30 && run->count == 1);
  CHECK(grew_less(before, 16 << 10));
}

// Writers set a version and mark; copiers claim and then look. In the end the copy must be equal:
// a mark that got lost would leave an old version behind.
// `bulk`: now and then everything is marked, as when a session begins.
static void check_no_lost_update(uint64_t blocks, bool bulk) {
  const uint64_t kBlocks = blocks;
  DirtyMap map(kBlocks * 4096, 4096);
  std::vector<std::atomic<uint64_t>> data(kBlocks), copy(kBlocks);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 2; writer++) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(writer);
      for (uint64_t i = 1; i < 200'000; i++) {
        if (bulk && i % 100 == 0) map.mark_all();
        uint64_t block = random() % kBlocks;
        uint64_t count = std::min<uint64_t>(1 + random() % 70, kBlocks - block);
        for (uint64_t b = block; b < block + count; b += 1 + random() % 8) {
          data[b].fetch_add(1, std::memory_order_relaxed);
        }
        map.mark_blocks({block, count});
      }
    });
  }
  auto copy_once = [&](uint64_t from, uint64_t to) {
    bool any = false;
    for (uint64_t at = from; at < to;) {
      auto run = map.claim(at, to, at % 3 == 0 ? 4096 : 16);
      if (!run) break;
      any = true;
      for (uint64_t b = run->first; b < run->end(); b++) {
        copy[b].store(data[b].load(std::memory_order_relaxed), std::memory_order_relaxed);
      }
      at = run->end();
    }
    return any;
  };
  // Two copiers, each with its own half: the boundary lies inside a word.
  const uint64_t middle = kBlocks / 2 - 6;
  std::vector<std::thread> copiers;
  for (int half = 0; half < 2; half++) {
    copiers.emplace_back([&, half] {
      uint64_t from = half == 0 ? 0 : middle, to = half == 0 ? middle : kBlocks;
      for (;;) {
        bool last = stop.load();
        while (copy_once(from, to)) {
        }
        if (last) return;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  stop = true;
  for (auto& thread : copiers) thread.join();
  for (uint64_t b = 0; b < kBlocks; b++) CHECK(copy[b] == data[b]);
  CHECK(map.count() == 0);
}

// Who claims what was marked sees what was written before, and nothing else tells him: ThreadSanitizer
// knows. Of a block whose region was dirty as a whole, of one that was dirty itself, of one that was clean.
static void check_claim_sees_write() {
  for (int before : {0, 1, 2}) {
    DirtyMap map(4096 * 4096ull, 4096);
    if (before == 1) map.mark_blocks({7, 1});
    if (before == 2) map.mark_all();
    uint64_t data = 0;
    std::atomic<bool> marked{false};
    std::thread writer([&] {
      data = 1;
      map.mark(7 * 4096, 4096);
      marked.store(true, std::memory_order_relaxed);
    });
    while (!marked.load(std::memory_order_relaxed)) std::this_thread::yield();
    auto run = map.claim(0, map.blocks(), map.blocks());
    CHECK(run && run->first <= 7 && run->end() > 7 && data == 1);
    writer.join();
  }
}

// Regions that are taken while something in them is marked, once each: no mark may come too late for
// one and too early for the other, and none may be out of sight.
static void check_marks_as_regions_go() {
  constexpr uint64_t kRegions = 64, kEach = 4096;
  for (int round = 0; round < 200; round++) {
    DirtyMap map(kRegions * kEach * 4096, 4096);
    for (uint64_t region = 0; region < kRegions; region += 2)
      map.mark_blocks({region * kEach, kEach});
    std::vector<std::atomic<int>> data(kRegions), copy(kRegions);
    std::atomic<int> ready{0};
    auto meet = [&] {
      ready++;
      while (ready.load() < 2) std::this_thread::yield();
    };
    auto copy_in = [&](uint64_t region) {
      while (map.claim(region * kEach, (region + 1) * kEach, kEach))
        copy[region] = data[region].load();
    };
    std::thread writer([&] {
      meet();
      for (uint64_t region = 0; region < kRegions; region++) {
        for (int i = 0; i < 3; i++) {
          data[region]++;
          map.mark_blocks({region * kEach + 7, 1});
        }
      }
    });
    meet();
    for (uint64_t region = 0; region < kRegions; region++) copy_in(region);
    writer.join();
    for (uint64_t region = 0; region < kRegions; region++) copy_in(region);
    for (uint64_t region = 0; region < kRegions; region++) CHECK(copy[region] == data[region]);
    CHECK(map.count() == 0);
  }
}

// Claimers that compete for the same blocks: each block goes to exactly one of them.
static void check_competing_claims() {
  constexpr uint64_t kBlocks = 4096 + 64 * 40;
  DirtyMap map(kBlocks * 4096, 4096);
  for (int round = 0; round < 200; round++) {
    map.mark_all();
    std::vector<std::atomic<int>> owners(kBlocks);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++) {
      threads.emplace_back([&, i] {
        while (auto run = map.claim(0, kBlocks, i == 2 ? 5000 : 3 + i * 20)) {
          for (uint64_t b = run->first; b < run->end(); b++) owners[b]++;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    // A claimer may have seen the map empty while another put a rest back.
    while (auto run = map.claim(0, kBlocks, 64)) {
      for (uint64_t b = run->first; b < run->end(); b++) owners[b]++;
    }
    for (uint64_t b = 0; b < kBlocks; b++) CHECK(owners[b] == 1);
    CHECK(map.count() == 0);
  }
}

void check_recent() {
  DirtyMap map(1 << 20, 4096);
  map.mark_all();
  CHECK(map.recent().empty());
  for (uint64_t block : {3, 7, 3}) map.mark(block * 4096 + 512, 8192);
  CHECK((map.recent() == std::vector<uint64_t>{3, 7}));
  for (uint64_t block = 0; block < 2 * DirtyMap::kRecent; block++) map.mark(block * 4096, 1);
  CHECK(map.recent().size() == DirtyMap::kRecent && map.recent()[0] == 2 * DirtyMap::kRecent - 1);
}

int main() {
  for (uint32_t block_size : {4096u, 8192u, 65536u, 1u << 20}) {
    for (uint64_t blocks : {1ull, 2ull, 63ull, 64ull, 65ull, 4095ull, 4096ull, 4097ull, 9000ull}) {
      for (uint64_t tail : {0ull, 512ull, 3584ull})
        sweep_marks(blocks * block_size + tail, block_size);
    }
  }
  puts("ok marks and claims equal the model");
  check_recent();
  puts("ok what was written last");
  check_ranges();
  puts("ok ranges");
  check_young();
  puts("ok young blocks wait");
  unsigned seed = std::random_device()();
  fprintf(stderr, "seed %u\n", seed);
  for (uint64_t blocks : {4096ull, 3 * 4096ull, 4 * 4096ull + 77}) sweep_regions(blocks, seed);
  puts("ok whole regions equal the model");
  check_marks_in_full_regions();
  puts("ok marks in full regions");
  check_large();
  puts("ok an 8 TiB map");
  for (uint64_t blocks : {512, 2 * 4096 + 100}) {
    for (bool bulk : {false, true}) check_no_lost_update(blocks, bulk);
  }
  puts("ok no lost update under concurrent writers and copiers");
  check_claim_sees_write();
  check_marks_as_regions_go();
  puts("ok marks in regions that are being taken");
  check_competing_claims();
  puts("ok competing claims share without overlap");
}
