#include "tap/tap.h"

#include <algorithm>
#include <bit>

namespace blockferry {

namespace {

uint64_t microseconds(Clock::duration time) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(time).count());
}

int latency_bucket(Clock::duration time) {
  int bucket = std::bit_width(microseconds(time) | 1) - 1;
  return std::min(bucket, TapStats::kBuckets - 1);
}

void add(std::atomic<uint64_t>& counter, uint64_t amount) {
  counter.fetch_add(amount, std::memory_order_relaxed);
}

uint64_t read(const std::atomic<uint64_t>& counter) {
  return counter.load(std::memory_order_relaxed);
}

}  // namespace

Tap::Tap(std::unique_ptr<Origin> origin, std::shared_ptr<Tracking> kept,
         std::unique_ptr<WriteWatch> watch)
    : origin_(std::move(origin)),
      kept_(std::move(kept)),
      tracking_(kept_),
      watch_(std::move(watch)) {
  if (!kept_ || !watch_) return;
  watch_->track(&kept_->dirty());
  watch_->collect();
}

// Nobody knows what is written when a watch has gone.
Tap::~Tap() {
  if (kept_ && watch_) kept_->forget();
  if (kept_) kept_->close(*origin_);
  origin_.reset();
}

// The lock makes a write that was seen unmarked one whose I/O had ended before.
void Tap::track(std::shared_ptr<Tracking> tracking) {
  std::unique_lock lock(tracking_mutex_);
  if (watch_) watch_->track(tracking ? &tracking->dirty() : nullptr);
  tracking_.swap(tracking);
}

std::shared_ptr<Tracking> Tap::tracking() const {
  std::shared_lock lock(tracking_mutex_);
  return tracking_;
}

Status Tap::set_size(uint64_t size) {
  std::lock_guard lock(wakers_mutex_);
  if (size == origin_->size()) return {};
  const char* why = kept_              ? "has a map file for that size"
                    : !wakers_.empty() ? "has a client who was told so"
                                       : nullptr;
  if (why != nullptr) {
    std::string bytes = std::to_string(origin_->size()) + " bytes, not " + std::to_string(size);
    return Status::failure(Code::bad_size,
                           origin_->name() + " is served with " + bytes + ": it " + why);
  }
  Status status = origin_->set_size(size);
  auto tracking = this->tracking();
  if (status.ok() && tracking)
    track(std::make_shared<Tracking>(size, tracking->dirty().block_size()));
  return status;
}

void Tap::forget() {
  if (auto tracking = this->tracking()) tracking->forget();
}

// What is missed before the account begins is found by who does not rely on the marks, so they are
// forgotten after that; and before it, as we may be killed in between.
Status Tap::begin_again() {
  forget();
  Status status = watch_ ? watch_->begin() : Status{};
  forget();
  return status;
}

void Tap::Ticket::wait_behind(const Ticket& ahead) {
  if (wait != Wait::none) return;
  wait = ahead.wait;
  delayed = wait == Wait::throttled;
  wait_began = started;
}

Admission Tap::admit(Ticket& ticket, uint64_t offset, uint64_t length) {
  Admission admission = ask(ticket, length);
  if (kept_ && admission.answer == Admission::Answer::go)
    ticket.slot = kept_->began(offset, length);
  return admission;
}

// The write is counted in before the state is looked at, and hold() sets the state before anyone
// looks at the count: either the write sees the new state, or it is waited for.
Admission Tap::ask(Ticket& ticket, uint64_t length) {
  in_flight_.fetch_add(1);
  GateState state = state_.load();
  if (state == GateState::open && ticket.wait == Ticket::Wait::none && !throttle_.active()) {
    return {};
  }
  if (state != GateState::open) {
    leave();
    if (state == GateState::refusing) return {Admission::Answer::refused, {}};
    begin_wait(ticket, Ticket::Wait::held);
    return {Admission::Answer::later, {}};
  }
  auto now = Clock::now();
  auto wait = throttle_.active() ? throttle_.ask(length, ticket.started, now) : Clock::duration{};
  if (wait > Clock::duration::zero()) {
    leave();
    begin_wait(ticket, Ticket::Wait::throttled);
    return {Admission::Answer::later, wait};
  }
  end_wait(ticket, now);
  if (ticket.delayed) add(counters_.writes_delayed, 1);
  return {};
}

void Tap::begin_wait(Ticket& ticket, Ticket::Wait reason) {
  if (ticket.wait == reason) return;
  auto now = Clock::now();
  end_wait(ticket, now);
  ticket.wait = reason;
  ticket.wait_began = now;
  if (reason == Ticket::Wait::throttled) ticket.delayed = true;
}

void Tap::end_wait(Ticket& ticket, Clock::time_point now) {
  if (ticket.wait == Ticket::Wait::none) return;
  auto& counter = ticket.wait == Ticket::Wait::held ? counters_.hold_us : counters_.delay_us;
  add(counter, microseconds(now - ticket.wait_began));
  ticket.wait = Ticket::Wait::none;
}

void Tap::finished(const Ticket& ticket, uint64_t offset, uint64_t length) {
  {
    std::shared_lock lock(tracking_mutex_);
    if (tracking_) tracking_->dirty().mark(offset, length);
  }
  if (kept_) kept_->ended(ticket.slot, 1000 * (microseconds(Clock::now() - ticket.started) + 1));
  count_write(ticket, length);
  leave();
}

void Tap::leave() {
  if (in_flight_.fetch_sub(1) != 1 || drain_waiters_.load() == 0) return;
  std::lock_guard lock(drain_mutex_);
  drained_.notify_all();
}

bool Tap::wait_drained(Clock::duration limit) {
  drain_waiters_.fetch_add(1);
  std::unique_lock lock(drain_mutex_);
  bool empty = drained_.wait_for(lock, limit, [this] { return drained(); });
  drain_waiters_.fetch_sub(1);
  return empty;
}

// What waits in the page cache is a write to come, and the origin's flush sends it on its way.
Status Tap::drain(Clock::duration limit) {
  if (!wait_drained(limit)) return Status::failure(Code::timeout, "writes did not finish in time");
  if (!watch_) return {};
  Status status = origin_->flush();
  return status.ok() ? watch_->drain(limit) : status;
}

void Tap::count_write(const Ticket& ticket, uint64_t length) {
  add(counters_.writes, 1);
  add(counters_.written_bytes, length);
  add(counters_.latency[latency_bucket(Clock::now() - ticket.started)], 1);
}

void Tap::count_read(uint64_t length) {
  add(counters_.reads, 1);
  add(counters_.read_bytes, length);
}

void Tap::count_flush() { add(counters_.flushes, 1); }

void Tap::set_throttle(const ThrottleLimits& limits) {
  throttle_.set(limits, Clock::now());
  wake_all();
}

void Tap::begin_round() {
  throttle_.begin_round();
  wake_all();
}

void Tap::hold() {
  set_state(GateState::holding);
  if (watch_) watch_->hold();
}

void Tap::refuse() {
  set_state(GateState::refusing);
  if (watch_) watch_->refuse();
}

void Tap::open() {
  set_state(GateState::open);
  if (watch_) watch_->open();
}

Status Tap::may_lose_disk() { return watch_ ? watch_->may_lose_disk() : Status{}; }

Status Tap::delay_writes(unsigned ms) {
  if (watch_) return watch_->delay_writes(ms);
  return Status::failure(Code::unsupported, "the tap has a throttle of its own");
}

void Tap::set_state(GateState state) {
  state_.store(state);
  wake_all();
}

void Tap::wake_all() {
  std::lock_guard lock(wakers_mutex_);
  for (Waker* waker : wakers_) waker->wake();
}

void Tap::add_waker(Waker* waker) {
  std::lock_guard lock(wakers_mutex_);
  wakers_.insert(waker);
}

void Tap::remove_waker(Waker* waker) {
  std::lock_guard lock(wakers_mutex_);
  wakers_.erase(waker);
}

TapStats Tap::stats() const {
  TapStats stats;
  stats.writes = read(counters_.writes);
  stats.written_bytes = read(counters_.written_bytes);
  if (watch_) {
    WatchStats watched = watch_->stats();
    stats.writes += watched.writes;
    stats.written_bytes += watched.written_bytes;
  }
  if (auto tracking = this->tracking()) stats.unique_dirty = tracking->dirty().marked();
  stats.writes_delayed = read(counters_.writes_delayed);
  stats.delay_us = read(counters_.delay_us);
  stats.hold_us = read(counters_.hold_us);
  stats.reads = read(counters_.reads);
  stats.read_bytes = read(counters_.read_bytes);
  stats.flushes = read(counters_.flushes);
  for (int i = 0; i < TapStats::kBuckets; i++) stats.latency[i] = read(counters_.latency[i]);
  return stats;
}

}  // namespace blockferry
