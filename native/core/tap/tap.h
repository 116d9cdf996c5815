// A tap: an origin with a gate before its writes. The gate marks dirty blocks, throttles, and
// quiesces. What carries the requests (the NBD server, a test) calls it in this order for each
// write-like request (write, write-zeroes, trim):
//
//   admit() until it says `go`    it may say "later": wait that long, or until a Waker fires
//   the I/O on origin()
//   finished()                    marks the blocks, whatever the I/O's result was: a failed
//                                 write may have changed some bytes
//   the acknowledgement to the client
//
// Reads and flushes pass the gate unasked.
//
// Or nothing carries the requests: a tap with a watch (write_watch.h) sees writes that go past us.
// Its gate and its throttle have no hold on those; the watch may have, else whoever uses it stops the
// writers by other means.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>

#include "disk/origin.h"
#include "tap/throttle.h"
#include "tap/write_watch.h"
#include "tracking/tracking.h"

namespace blockferry {

using Clock = std::chrono::steady_clock;

// Told when waiting requests should ask again: the throttle or the gate's state changed.
// wake() may come from any thread and must not block nor call the tap.
class Waker {
 public:
  virtual ~Waker() = default;
  virtual void wake() = 0;
};

enum class GateState {
  open,      // writes go on (throttled, perhaps)
  holding,   // writes wait
  refusing,  // writes fail: this side does not own the disk
};

struct Admission {
  enum class Answer { go, later, refused } answer = Answer::go;
  // With `later`: ask again after this long, or at a wake(), whichever is first. Zero means only
  // at a wake().
  Clock::duration wait{};
};

struct TapStats {
  uint64_t writes = 0;  // write-like requests finished
  uint64_t written_bytes = 0;
  uint64_t unique_dirty = 0;  // blocks that went from clean to dirty since tracking began
  uint64_t writes_delayed = 0;
  uint64_t delay_us = 0;  // imposed by the throttle, summed over requests
  uint64_t hold_us = 0;   // imposed by quiescing, summed over requests
  uint64_t reads = 0;
  uint64_t read_bytes = 0;
  uint64_t flushes = 0;
  // Time from a write's arrival to its end, imposed waits included: bucket i counts those that
  // took [2^i, 2^(i+1)) µs; the first also what is faster, the last also what is slower.
  static constexpr int kBuckets = 24;
  uint64_t latency[kBuckets] = {};
};

class Tap {
 public:
  // `kept`: what it tracks from its first write to its last; null for a tap that tracks now and
  // then. With a `watch` that was taken over it has what that one has seen already.
  explicit Tap(std::unique_ptr<Origin> origin, std::shared_ptr<Tracking> kept = nullptr,
               std::unique_ptr<WriteWatch> watch = nullptr);
  ~Tap();

  Origin& origin() { return *origin_; }
  // Origin::set_size(), of a disk that nobody writes; what was tracked of it is forgotten. Code::bad_size
  // where that can't be: somebody who is served was told of another, or a map file is for another. Without
  // a watch.
  Status set_size(uint64_t size);
  // Null when the writes come through the gate.
  WriteWatch* watch() { return watch_.get(); }

  // From here on every finished write is marked in its dirty map: when this returns, a write that
  // is not marked there (or will be, by a watch) has been performed already. Null ends tracking.
  // Not with a kept one.
  void track(std::shared_ptr<Tracking> tracking);
  std::shared_ptr<Tracking> tracking() const;
  // The disk is written by somebody else than its writers: by a migration that comes here.
  void forget();
  bool keeps_tracking() const { return kept_ != nullptr; }
  // After Code::unaccounted: a watch begins to count anew, and what was tracked is not relied on.
  Status begin_again();

  // One per request, kept by the caller between calls of admit().
  struct Ticket {
    enum class Wait { none, throttled, held } wait = Wait::none;
    Clock::time_point wait_began{};
    bool delayed = false;  // the throttle ever said `later`
    Clock::time_point started = Clock::now();
    uint32_t slot = Tracking::kNoSlot;

    // A request that waits its turn behind another waits for the same reason.
    void wait_behind(const Ticket& ahead);
  };
  Admission admit(Ticket& ticket, uint64_t offset, uint64_t length);
  // Once per `go`.
  void finished(const Ticket& ticket, uint64_t offset, uint64_t length);
  // For statistics only.
  void count_read(uint64_t length);
  void count_flush();

  void set_throttle(const ThrottleLimits& limits);
  // Begins a round for the threshold steps of the throttle.
  void begin_round();

  // Lets no new write begin; held ones wait. Answers at once; drained() says when the writes
  // that had begun are finished.
  void hold();
  // The same, but writes are refused, waiting ones included.
  void refuse();
  void open();
  // See WriteWatch::may_lose_disk().
  Status may_lose_disk();
  // See WriteWatch::delay_writes().
  Status delay_writes(unsigned ms);
  GateState state() const { return state_.load(); }
  // Only of use while the gate is not open.
  bool drained() const { return in_flight_.load() == 0; }
  // Waits for it; false after `limit`.
  bool wait_drained(Clock::duration limit);
  // The same, and what a watch has seen until now is marked. Code::timeout, and what
  // WriteWatch::drain() says.
  Status drain(Clock::duration limit);

  void add_waker(Waker* waker);
  void remove_waker(Waker* waker);  // no wake() comes after this returned

  TapStats stats() const;

 private:
  Admission ask(Ticket& ticket, uint64_t length);
  void set_state(GateState state);
  void wake_all();
  void leave();
  void begin_wait(Ticket& ticket, Ticket::Wait reason);
  void end_wait(Ticket& ticket, Clock::time_point now);
  void count_write(const Ticket& ticket, uint64_t length);

  std::unique_ptr<Origin> origin_;
  const std::shared_ptr<Tracking> kept_;
  mutable std::shared_mutex tracking_mutex_;
  std::shared_ptr<Tracking> tracking_;
  // Goes before what it marks in, and after the origin, which may be a device of its own.
  const std::unique_ptr<WriteWatch> watch_;
  std::atomic<GateState> state_{GateState::open};
  // Requests between admit() and finished(); for a moment also those that admit() turns away.
  std::atomic<uint64_t> in_flight_{0};
  std::atomic<int> drain_waiters_{0};
  std::mutex drain_mutex_;
  std::condition_variable drained_;
  Throttle throttle_;
  std::mutex wakers_mutex_;
  std::set<Waker*> wakers_;
  struct Counters {
    std::atomic<uint64_t> writes{0}, written_bytes{0}, writes_delayed{0}, delay_us{0}, hold_us{0},
        reads{0}, read_bytes{0}, flushes{0};
    std::atomic<uint64_t> latency[TapStats::kBuckets] = {};
  };
  Counters counters_;
};

}  // namespace blockferry
