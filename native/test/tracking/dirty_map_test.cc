// The dirty map against a plain model, swept over sizes, block sizes and alignments, and under
// sanitizers: address, thread
// concurrent markers and claimers.
#include "tracking/dirty_map.h"

#include <cstdio>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "test/check.h"

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

// A terabyte costs 32 MiB of bits at most, and nothing until it is touched.
static void check_large() {
  DirtyMap map(1ull << 44, 4096);
  CHECK(map.blocks() == 1ull << 32);
  map.mark((1ull << 43) + 5, 1);
  auto run = map.claim(0, map.blocks(), 256);
  CHECK(run && run->first == 1ull << 31 && run->count == 1);
  CHECK(map.count() == 0);
}

// Writers set a version and mark; copiers claim and then look. In the end the copy must be equal:
// a mark that got lost would leave an old version behind.
static void check_no_lost_update() {
  constexpr uint64_t kBlocks = 512;
  DirtyMap map(kBlocks * 4096, 4096);
  std::vector<std::atomic<uint64_t>> data(kBlocks), copy(kBlocks);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int writer = 0; writer < 2; writer++) {
    threads.emplace_back([&, writer] {
      std::mt19937_64 random(writer);
      for (uint64_t i = 1; i < 200'000; i++) {
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
      auto run = map.claim(at, to, 16);
      if (!run) break;
      any = true;
      for (uint64_t b = run->first; b < run->end(); b++) {
        copy[b].store(data[b].load(std::memory_order_relaxed), std::memory_order_relaxed);
      }
      at = run->end();
    }
    return any;
  };
  // Two copiers, each with its own half: the boundary (block 250) lies inside a word.
  std::vector<std::thread> copiers;
  for (int half = 0; half < 2; half++) {
    copiers.emplace_back([&, half] {
      uint64_t from = half == 0 ? 0 : 250, to = half == 0 ? 250 : kBlocks;
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

// Claimers that compete for the same blocks: each block goes to exactly one of them.
static void check_competing_claims() {
  constexpr uint64_t kBlocks = 64 * 40;
  DirtyMap map(kBlocks * 4096, 4096);
  for (int round = 0; round < 200; round++) {
    map.mark_all();
    std::vector<std::atomic<int>> owners(kBlocks);
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; i++) {
      threads.emplace_back([&, i] {
        while (auto run = map.claim(0, kBlocks, 3 + i * 20)) {
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

int main() {
  for (uint32_t block_size : {4096u, 8192u, 65536u, 1u << 20}) {
    for (uint64_t blocks : {1ull, 2ull, 63ull, 64ull, 65ull, 4095ull, 4096ull, 4097ull, 9000ull}) {
      for (uint64_t tail : {0ull, 512ull, 3584ull}) sweep_marks(blocks * block_size + tail, block_size);
    }
  }
  puts("ok marks and claims equal the model");
  check_ranges();
  puts("ok ranges");
  check_young();
  puts("ok young blocks wait");
  check_large();
  puts("ok a 16 TiB map");
  check_no_lost_update();
  puts("ok no lost update under concurrent writers and copiers");
  check_competing_claims();
  puts("ok competing claims share without overlap");
}
