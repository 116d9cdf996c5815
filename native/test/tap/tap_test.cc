// The tap: its gate under races, its marks, its statistics.
// sanitizers: address, thread
#include "tap/tap.h"

#include <condition_variable>
#include <random>
#include <thread>

#include "test/check.h"

using namespace blockferry;
using namespace std::chrono_literals;

namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kBlocks = 512;
constexpr int kWriters = 4;

std::shared_ptr<Tap> make_tap() {
  return std::make_shared<Tap>(make_memory_origin(kBlocks * kBlock));
}

class CountingWaker : public Waker {
 public:
  void wake() override {
    std::lock_guard lock(mutex_);
    woken_++;
    changed_.notify_all();
  }
  int count() {
    std::lock_guard lock(mutex_);
    return woken_;
  }
  // Sleeps until there were more wakes than `seen`, for ever if need be: a lost wake hangs here,
  // and the time limit of all tests ends this one.
  void wait_beyond(int seen) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return woken_ > seen; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int woken_ = 0;
};

void the_gate_says_what_its_state_says() {
  auto tap = make_tap();
  Tap::Ticket ticket;
  CHECK(tap->admit(ticket, 0, kBlock).answer == Admission::Answer::go);
  CHECK(!tap->drained());
  tap->hold();
  CHECK(tap->state() == GateState::holding);
  CHECK(!tap->drained());
  CHECK(!tap->wait_drained(1ms));
  tap->finished(ticket, 0, kBlock);
  CHECK(tap->drained());
  CHECK(tap->wait_drained(0ms));

  Tap::Ticket held;
  Admission answer = tap->admit(held, 0, kBlock);
  CHECK(answer.answer == Admission::Answer::later && answer.wait == 0ns);
  CHECK(tap->drained());
  tap->refuse();
  CHECK(tap->admit(held, 0, kBlock).answer == Admission::Answer::refused);
  CHECK(tap->drained());
  tap->open();
  CHECK(tap->admit(held, 0, kBlock).answer == Admission::Answer::go);
  tap->finished(held, 0, kBlock);
  CHECK(tap->stats().writes == 2);
}

// Nobody who was told of a size finds another.
void its_size_changes_only_unseen() {
  auto tap = make_tap();
  CountingWaker client;
  tap->add_waker(&client);
  CHECK(tap->set_size(kBlocks * kBlock).ok());
  CHECK(tap->set_size(kBlock).code == Code::bad_size);
  CHECK(tap->origin().size() == kBlocks * kBlock);
  tap->remove_waker(&client);
  tap->track(std::make_shared<Tracking>(kBlocks * kBlock, 2 * kBlock));
  CHECK(tap->set_size(3 * kBlock).ok());
  CHECK(tap->origin().size() == 3 * kBlock && tap->tracking()->dirty().size() == 3 * kBlock);
  CHECK(tap->tracking()->dirty().block_size() == 2 * kBlock);
  CHECK(tap->set_size((kBlocks + 1) * kBlock).code == Code::too_small);
  CHECK(tap->set_size(kBlocks * kBlock).ok());
  CHECK(tap->tracking()->dirty().size() == kBlocks * kBlock);
}

// What is written down of it is of one size.
void its_size_stays_with_a_map_file() {
  auto origin = make_memory_origin(kBlocks * kBlock);
  auto kept = std::make_shared<Tracking>(kBlocks * kBlock, kBlock);
  auto tap = std::make_shared<Tap>(std::move(origin), kept);
  CHECK(tap->set_size(kBlock).code == Code::bad_size && tap->origin().size() == kBlocks * kBlock);
}

void every_change_wakes() {
  auto tap = make_tap();
  CountingWaker waker, gone;
  tap->add_waker(&waker);
  tap->add_waker(&gone);
  tap->remove_waker(&gone);
  int seen = 0;
  auto woke = [&] { return waker.count() > seen && (seen = waker.count(), true); };
  tap->hold();
  CHECK(woke());
  tap->open();
  CHECK(woke());
  tap->refuse();
  CHECK(woke());
  tap->set_throttle({});
  CHECK(woke());
  tap->begin_round();
  CHECK(woke());
  tap->remove_waker(&waker);
  tap->open();
  CHECK(!woke());
  CHECK(gone.count() == 0);
}

void marks_what_was_written() {
  auto tap = make_tap();
  Tap::Ticket ticket;
  auto write = [&](uint64_t offset, uint64_t length) {
    CHECK(tap->admit(ticket, offset, length).answer == Admission::Answer::go);
    tap->finished(ticket, offset, length);
  };
  write(0, kBlock);
  auto tracking = std::make_shared<Tracking>(kBlocks * kBlock, kBlock);
  DirtyMap* map = &tracking->dirty();
  tap->track(tracking);
  CHECK(tap->tracking() == tracking);
  CHECK(map->count() == 0);
  write(3 * kBlock - 1, 2);
  CHECK(map->count() == 2 && map->test(2) && map->test(3));
  write(3 * kBlock, kBlock);
  CHECK(tap->stats().unique_dirty == 2);
  auto next = std::make_shared<Tracking>(kBlocks * kBlock, kBlock);
  tap->track(next);
  write(0, 1);
  CHECK(map->count() == 2 && next->dirty().count() == 1);
  tap->track(nullptr);
  write(9 * kBlock, 1);
  CHECK(next->dirty().count() == 1 && tap->tracking() == nullptr && tap->stats().unique_dirty == 0);
}

void the_throttle_is_asked() {
  auto tap = make_tap();
  ThrottleLimits limits;
  limits.bytes_per_second = 100;
  tap->set_throttle(limits);
  Tap::Ticket first, second;
  CHECK(tap->admit(first, 0, 2 * kBlock).answer == Admission::Answer::go);
  Admission answer = tap->admit(second, 0, kBlock);
  CHECK(answer.answer == Admission::Answer::later && answer.wait > 1s);
  Tap::Ticket behind;
  behind.wait_behind(second);
  CHECK(behind.wait == Tap::Ticket::Wait::throttled);
  tap->finished(first, 0, kBlock);
  CHECK(tap->drained());
  CHECK(tap->stats().writes_delayed == 0);
  std::this_thread::sleep_for(2ms);
  tap->hold();
  CHECK(tap->admit(second, 0, kBlock).answer == Admission::Answer::later);
  std::this_thread::sleep_for(2ms);
  tap->open();
  tap->set_throttle({});
  for (Tap::Ticket* ticket : {&second, &behind}) {
    CHECK(tap->admit(*ticket, 0, kBlock).answer == Admission::Answer::go);
    tap->finished(*ticket, 0, kBlock);
  }
  TapStats stats = tap->stats();
  CHECK(stats.writes == 3 && stats.writes_delayed == 2);
  // `second` was throttled for 2 ms and held for 2 ms, `behind` throttled for all 4.
  CHECK(stats.delay_us >= 6000 && stats.hold_us >= 2000);
  uint64_t counted = 0;
  for (uint64_t count : stats.latency) counted += count;
  CHECK(counted == 3 && stats.written_bytes == 3 * kBlock);
}

// Writers come and go as fast as they can; whenever the gate was closed and has drained, nobody
// may be between admit() and finished(). Held writers sleep until they are woken.
void nobody_is_inside_a_closed_gate(bool refuse) {
  auto tap = make_tap();
  std::atomic<bool> closed{false}, stop{false};
  std::atomic<uint64_t> passed{0};
  auto write = [&](unsigned seed) {
    CountingWaker waker;
    tap->add_waker(&waker);
    for (uint64_t i = seed; !stop.load(); i++) {
      Tap::Ticket ticket;
      int seen = waker.count();
      Admission answer = tap->admit(ticket, 0, kBlock);
      while (answer.answer == Admission::Answer::later) {
        waker.wait_beyond(seen);
        seen = waker.count();
        answer = tap->admit(ticket, 0, kBlock);
      }
      if (answer.answer == Admission::Answer::refused) {
        std::this_thread::yield();
        continue;
      }
      CHECK(!closed.load());
      tap->finished(ticket, i % kBlocks * kBlock, kBlock);
      passed++;
    }
    tap->remove_waker(&waker);
  };
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; i++) writers.emplace_back(write, i);
  for (uint64_t turns = 0; turns < 2000 || passed.load() < 200'000; turns++) {
    refuse ? tap->refuse() : tap->hold();
    CHECK(tap->wait_drained(60s));
    closed = true;
    if (turns % 8 == 0) std::this_thread::yield();
    closed = false;
    tap->open();
    if (turns % 4 == 0) std::this_thread::yield();
  }
  stop = true;
  tap->open();
  for (auto& writer : writers) writer.join();
  CHECK(tap->drained());
  CHECK(tap->stats().writes == passed.load());
}

// Invariant 1: writers store, then tell the tap; a copier claims, then reads. Tracking begins in
// the middle of it. Whenever the gate is closed and drained, one more pass makes the copy equal.
void no_update_is_lost() {
  auto tap = make_tap();
  std::vector<std::atomic<uint64_t>> cells(kBlocks);
  std::vector<uint64_t> copy(kBlocks);
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (unsigned seed = 0; seed < kWriters; seed++) {
    writers.emplace_back([&, seed] {
      std::mt19937 random(seed);
      for (uint64_t stamp = seed; !stop.load(); stamp += kWriters) {
        Tap::Ticket ticket;
        if (tap->admit(ticket, 0, kBlock).answer != Admission::Answer::go) {
          std::this_thread::yield();
          continue;
        }
        uint64_t block = random() % kBlocks;
        cells[block].store(stamp, std::memory_order_relaxed);
        tap->finished(ticket, block * kBlock, kBlock);
      }
    });
  }
  auto read = [&](BlockRange run) {
    for (uint64_t block = run.first; block < run.end(); block++) {
      copy[block] = cells[block].load(std::memory_order_relaxed);
    }
  };
  for (int turn = 0; turn < 1000; turn++) {
    auto tracking = tap->tracking();
    if (turn % 100 == 0) {
      tracking = std::make_shared<Tracking>(kBlocks * kBlock, kBlock);
      tap->track(tracking);
      read({0, kBlocks});
    }
    DirtyMap* map = &tracking->dirty();
    for (int claims = turn % 8; claims > 0; claims--) {
      if (auto run = map->claim(0, kBlocks, 64)) read(*run);
    }
    tap->hold();
    while (!tap->drained()) {
    }
    while (auto run = map->claim(0, kBlocks, 64)) read(*run);
    for (uint64_t block = 0; block < kBlocks; block++) CHECK(copy[block] == cells[block].load());
    CHECK(map->count() == 0);
    tap->open();
    std::this_thread::yield();
  }
  stop = true;
  for (auto& writer : writers) writer.join();
}

}  // namespace

int main() {
  RUN(the_gate_says_what_its_state_says());
  RUN(its_size_changes_only_unseen());
  RUN(its_size_stays_with_a_map_file());
  RUN(every_change_wakes());
  RUN(marks_what_was_written());
  RUN(the_throttle_is_asked());
  RUN(nobody_is_inside_a_closed_gate(false));
  RUN(nobody_is_inside_a_closed_gate(true));
  RUN(no_update_is_lost());
}
