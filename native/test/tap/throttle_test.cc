// The token buckets and the threshold steps, on a clock of the test's own.
#include "tap/throttle.h"

#include <cmath>
#include <random>

#include "test/check.h"

using namespace blockferry;
using namespace std::chrono_literals;
using Time = Throttle::Clock::time_point;

namespace {

const Time kStart = Time{} + 1000s;

double seconds(Throttle::Clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

void bucket_starts_full_and_fills_at_its_rate() {
  TokenBucket bucket;
  CHECK(!bucket.limited());
  CHECK(bucket.wait(kStart) == 0ns);
  bucket.set(1000, 100, kStart);
  CHECK(bucket.limited());
  CHECK(bucket.wait(kStart) == 0ns);
  bucket.take(100);
  CHECK(bucket.wait(kStart) > 0ns);  // nothing left
  bucket.take(50);
  auto wait = bucket.wait(kStart);
  CHECK(std::abs(seconds(wait) - 0.05) < 1e-6);
  CHECK(bucket.wait(kStart + wait - 1ms) > 0ns);
  CHECK(bucket.wait(kStart + wait) == 0ns);
  // It never holds more than its burst.
  bucket.take(1e-3);
  CHECK(bucket.wait(kStart + 3600s) == 0ns);
  bucket.take(150);
  CHECK(std::abs(seconds(bucket.wait(kStart + 3600s)) - 0.05) < 1e-6);
}

// A request larger than the burst goes too, and is paid for afterwards.
void bucket_does_not_starve_large_requests() {
  TokenBucket bucket;
  bucket.set(1000, 10, kStart);
  CHECK(bucket.wait(kStart) == 0ns);
  bucket.take(5000);
  CHECK(std::abs(seconds(bucket.wait(kStart)) - 4.99) < 1e-6);
}

void bucket_changes_grant_no_bursts() {
  TokenBucket bucket;
  bucket.set(1000, 100, kStart);
  bucket.take(600);
  for (int i = 0; i < 1000; i++) bucket.set(1000, 100, kStart);
  CHECK(std::abs(seconds(bucket.wait(kStart)) - 0.5) < 1e-6);
  // The debt keeps its time, not its size.
  bucket.set(10, 100, kStart);
  CHECK(std::abs(seconds(bucket.wait(kStart)) - 0.5) < 1e-6);
  bucket.set(1000, 5, kStart + 10s);
  bucket.take(15);
  CHECK(std::abs(seconds(bucket.wait(kStart + 10s)) - 0.01) < 1e-6);
  // No limit, then a limit again: as new.
  bucket.set(0, 0, kStart + 10s);
  CHECK(bucket.wait(kStart + 10s) == 0ns);
  bucket.set(1000, 100, kStart + 10s);
  CHECK(bucket.wait(kStart + 10s) == 0ns);
}

// Even the slowest rate answers with a time that the clock can carry.
void bucket_survives_tiny_rates() {
  TokenBucket bucket;
  bucket.set(1e-9, 1, kStart);
  bucket.take(1e12);
  auto wait = bucket.wait(kStart);
  CHECK(wait > 24h);
  CHECK(kStart + wait > kStart);
}

// Over any stretch of time, what passes is the rate's share, a burst and one request at most; and
// a writer that asks as soon as it may gets that share.
void buckets_keep_the_rate(double rate, double burst, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<uint64_t> lengths(1, 200'000);
  Throttle throttle;
  ThrottleLimits limits;
  limits.bytes_per_second = rate;
  limits.burst_bytes = burst;
  throttle.set(limits, kStart);
  Time now = kStart;
  double passed = 0;
  while (now < kStart + 100s) {
    uint64_t length = lengths(random);
    Time since = now;
    for (;;) {
      auto wait = throttle.ask(length, since, now);
      if (wait == 0ns) break;
      now += wait;
    }
    passed += static_cast<double>(length);
  }
  double expected = rate * seconds(now - kStart) + burst;
  CHECK(passed <= expected + 200'000);
  CHECK(passed >= expected - 1);
}

void buckets_keep_their_rates() {
  for (unsigned seed = 0; seed < 20; seed++) {
    buckets_keep_the_rate(1e6, 1e5, seed);
    buckets_keep_the_rate(1e8, 1, seed);
    buckets_keep_the_rate(12'345, 1e6, seed);
  }
}

void both_buckets_count() {
  Throttle throttle;
  ThrottleLimits limits;
  limits.bytes_per_second = 1e6;
  limits.burst_bytes = 1e6;
  limits.writes_per_second = 10;
  limits.burst_writes = 2;
  CHECK(!throttle.active());
  throttle.set(limits, kStart);
  CHECK(throttle.active());
  CHECK(throttle.ask(1, kStart, kStart) == 0ns);
  CHECK(throttle.ask(1, kStart, kStart) == 0ns);
  // A request that must wait for one bucket takes nothing out of the other.
  for (int i = 0; i < 100; i++) CHECK(throttle.ask(900'000, kStart, kStart) > 0ns);
  auto later = kStart + 101ms;
  CHECK(throttle.ask(900'000, kStart, later) == 0ns);
  CHECK(throttle.ask(200'000, later, later + 101ms) == 0ns);
  // Above zero is enough to go, and goes below it.
  CHECK(throttle.ask(1, later, later + 101ms) == 0ns);
  CHECK(throttle.ask(1, later, later + 101ms) > 90ms);
}

void default_bursts_let_a_block_through() {
  Throttle throttle;
  ThrottleLimits limits;
  limits.bytes_per_second = 1000;
  limits.writes_per_second = 0.1;
  throttle.set(limits, kStart);
  CHECK(throttle.ask(4097, kStart, kStart) == 0ns);
  CHECK(throttle.ask(4097, kStart, kStart + 1s) == 0ns);
  CHECK(throttle.ask(1, kStart, kStart + 1s) > 8s);
}

void steps_delay_after_their_thresholds() {
  Throttle throttle;
  ThrottleLimits limits;
  limits.steps = {{20, 5000}, {10, 1000}};  // in no particular order
  throttle.set(limits, kStart);
  CHECK(throttle.active());
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < 10; i++) CHECK(throttle.ask(4096, kStart, kStart) == 0ns);
    for (int i = 0; i < 10; i++) {
      CHECK(throttle.ask(4096, kStart, kStart) == 1ms);
      CHECK(throttle.ask(4096, kStart, kStart + 400us) == 600us);
      CHECK(throttle.ask(4096, kStart, kStart + 1ms) == 0ns);
    }
    CHECK(throttle.ask(4096, kStart, kStart) == 5ms);
    CHECK(throttle.ask(4096, kStart, kStart + 1ms) == 4ms);
    CHECK(throttle.ask(4096, kStart, kStart + 5ms) == 0ns);
    throttle.begin_round();
  }
}

void no_limits_mean_no_waiting() {
  Throttle throttle;
  throttle.set({}, kStart);
  CHECK(!throttle.active());
  for (int i = 0; i < 1000; i++) CHECK(throttle.ask(1 << 30, kStart, kStart) == 0ns);
}

}  // namespace

int main() {
  RUN(bucket_starts_full_and_fills_at_its_rate());
  RUN(bucket_does_not_starve_large_requests());
  RUN(bucket_changes_grant_no_bursts());
  RUN(bucket_survives_tiny_rates());
  RUN(buckets_keep_their_rates());
  RUN(both_buckets_count());
  RUN(default_bursts_let_a_block_through());
  RUN(steps_delay_after_their_thresholds());
  RUN(no_limits_mean_no_waiting());
}
