// The marks of the kernel's program, in plain memory: nothing is lost between who marks and who
// takes, nor when the taker ends between any two of his steps.
// sanitizers: address, thread
#include "tap/bpf/kernel_marks.h"

#include <atomic>
#include <bit>
#include <random>
#include <thread>
#include <vector>

#include "test/check.h"
#include "test/scarce_memory.h"

using namespace blockferry;

namespace {

constexpr uint64_t kWords = 3 * 4096 + 77;

struct Memory {
  LazyWords marks{kWords}, summary{KernelMarks::summary_for(kWords)}, notes{BLOCK_WRITES_NOTES};
  KernelMarks view() {
    return {{&marks[0], marks.size()}, {&summary[0], summary.size()}, {&notes[0], notes.size()}};
  }
};

uint64_t pack(uint64_t first, uint64_t count) { return first << BLOCK_WRITES_COUNT_BITS | count; }

// Takes all that is there; answers how many blocks that were.
uint64_t take_all(KernelMarks& marks, std::vector<uint64_t>* seen) {
  std::vector<KernelMarks::Taken> taken;
  uint64_t blocks = 0;
  for (uint64_t at = 0; at < marks.summary_words();) {
    at = marks.take(at, &taken);
    for (auto [word, bits] : taken) (*seen)[word] |= bits;
    for (auto [word, bits] : taken) blocks += std::popcount(bits);
    marks.kept(taken);
  }
  return blocks;
}

void takes_what_is_marked() {
  Memory memory;
  auto marks = memory.view();
  std::vector<uint64_t> seen(kWords);
  CHECK(take_all(marks, &seen) == 0);
  marks.mark(pack(63, 2));
  marks.mark(pack(4096 * 64, 1));
  marks.mark(pack(kWords * 64 - 1, 5));  // past the end: cut off
  CHECK(take_all(marks, &seen) == 4);
  CHECK(seen[0] == 1ull << 63 && seen[1] == 1 && seen[4096] == 1 && seen[kWords - 1] == 1ull << 63);
  CHECK(take_all(marks, &seen) == 0);
  marks.mark(pack(0, kWords * 64));
  std::vector<KernelMarks::Taken> taken;
  CHECK(marks.take(0, &taken) == 2 && taken.size() == BLOCK_WRITES_NOTES);
  marks.kept(taken);
  CHECK(take_all(marks, &seen) == (kWords - BLOCK_WRITES_NOTES) * 64);
}

// Whichever allocation of a taking fails, what was taken goes back.
void loses_nothing_without_memory() {
  std::mt19937_64 random(1);
  int failed = 0;
  for (long step = 1; step < 14; step++) {
    Memory memory;
    auto marks = memory.view();
    std::vector<uint64_t> marked(kWords), seen(kWords);
    for (int i = 0; i < 3000; i++) {
      uint64_t block = random() % (kWords * 64);
      marks.mark(pack(block, 1));
      marked[block / 64] |= 1ull << block % 64;
    }
    countdown = step;
    try {
      take_all(marks, &seen);
    } catch (const std::bad_alloc&) {
      marks.recover();
      failed++;
    }
    countdown = 0;
    take_all(marks, &seen);
    for (uint64_t word = 0; word < kWords; word++) CHECK((marked[word] & ~seen[word]) == 0);
  }
  CHECK(failed > 5);
}

void loses_nothing_under_markers() {
  Memory memory;
  auto marks = memory.view();
  constexpr uint64_t kMarks = 100'000, kMarkers = 2;
  std::vector<std::vector<uint64_t>> marked(kMarkers, std::vector<uint64_t>(kWords));
  std::atomic<uint64_t> running{kMarkers};
  std::vector<std::thread> markers;
  for (uint64_t i = 0; i < kMarkers; i++) {
    markers.emplace_back([&, i] {
      std::mt19937_64 random(i);
      for (uint64_t n = 0; n < kMarks; n++) {
        uint64_t block = random() % (kWords * 64);
        marked[i][block / 64] |= 1ull << block % 64;
        marks.mark(pack(block, 1));
      }
      running--;
    });
  }
  std::vector<uint64_t> seen(kWords);
  while (running != 0) take_all(marks, &seen);
  for (auto& marker : markers) marker.join();
  take_all(marks, &seen);
  for (uint64_t word = 0; word < kWords; word++) {
    CHECK(seen[word] == (marked[0][word] | marked[1][word]));
  }
}

// The taker is gone before he has called kept().
void marks_again_what_a_taker_has_not_kept() {
  Memory memory;
  auto marks = memory.view();
  for (uint64_t block : {5, 5000, 300'000}) marks.mark(pack(block, 1));
  std::vector<KernelMarks::Taken> taken;
  marks.take(0, &taken);
  CHECK(taken.size() == 3);
  auto next = memory.view();
  next.recover();
  std::vector<uint64_t> seen(kWords);
  take_all(next, &seen);
  for (uint64_t block : {5, 5000, 300'000}) CHECK(seen[block / 64] >> block % 64 & 1);
  for (uint64_t note = 0; note < memory.notes.size(); note++) CHECK(memory.notes[note] == 0);
  CHECK(take_all(next, &seen) == 0);
}

// Or between the summary and the words below it.
void finds_words_without_a_summary() {
  Memory memory;
  auto marks = memory.view();
  marks.mark(pack(70'000, 1));
  for (uint64_t i = 0; i < memory.summary.size(); i++) memory.summary[i].store(0);
  std::vector<uint64_t> seen(kWords);
  CHECK(take_all(marks, &seen) == 0);
  marks.recover();
  CHECK(take_all(marks, &seen) == 1);
}

}  // namespace

int main() {
  RUN(takes_what_is_marked());
  RUN(loses_nothing_without_memory());
  RUN(loses_nothing_under_markers());
  RUN(marks_again_what_a_taker_has_not_kept());
  RUN(finds_words_without_a_summary());
}
