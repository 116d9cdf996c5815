// The watch by block tracepoints. The kernel's program sets marks; a thread here takes them every
// few milliseconds into the dirty map (collect()).
//
// Why no write is lost. A write is among those in flight before it is marked, and until after it
// has landed. To collect is: clear marks, then look at what is in flight and mark that again, in
// the kernel's own map, then mark the dirty map. A write whose mark was cleared is seen in flight,
// and collected once more later; or it was in flight no more, and so had landed before the dirty
// map was marked and the block was read. Whether it is taken out in time is of no matter: an event
// of a completion can be lost, and then the block is sent once too often.
//
// Events of issues were never seen to be lost, but that is no proof. So an account is kept
// (write_account.h).
//
// What is discarded is marked like what is written: what it reads as afterwards is the device's
// choice, so it has to be read anyway.
//
// A watch that is kept has its program and all that it shares with us pinned (pins.h), and
// marks a dirty map in a map file. When the process is killed the program goes on, and whoever
// opens the watch next with that map file takes it over. Wherever the kill falls, each write that
// is not in the dirty map then is one of these, and is marked again:
//   marked in the kernel, and not cleared yet;
//   in a word that was about to be cleared or had been, of which there is a note (kernel_marks.h);
//   in flight, and its mark was cleared before it landed: it is still in its slot, or among the
//   bios, as what is in flight is marked again before the notes are taken away.
// The account is among what is pinned, so drain() still proves that no write was missed since it
// began. A number goes into the map file and among what is pinned, new for each program that is
// loaded: it says that the two belong together. The map file has it only when all is pinned.
#include <algorithm>
#include <bit>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/start_thread.h"
#include "disk/device_claim.h"
#include "tap/bpf/kernel_marks.h"
#include "tap/bpf/program.h"
#include "tap/bpf/watched_device.h"
#include "tap/bpf/write_account.h"
#include "tap/write_watch.h"

namespace blockferry {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint64_t kBlock = 1ull << BLOCK_WRITES_SHIFT;
constexpr milliseconds kPause{10};
// Collecting takes at most this share of a thread's time.
constexpr int kShare = 10;
constexpr std::chrono::microseconds kLook{200};
// The account is wrong when it does not balance so long after the last write has ended.
constexpr milliseconds kGrace{500};

class BpfWatch : public WriteWatch {
 public:
  ~BpfWatch() override;
  // `token`: see open_kept_bpf_watch(); null when it is not kept.
  Status open(const std::string& path, uint64_t* token);
  void track(DirtyMap* map) override;
  void collect() override;
  Status drain(Clock::duration limit) override;
  Status check() const override;
  Status begin() override { return account_->begin(); }
  WatchStats stats() const override;

 private:
  Status take_over(const block_writes_target& target, uint64_t token);
  Status load(const block_writes_target& target, uint64_t* token);
  void use_program();
  void run();
  Status collect_locked();
  void collect_all();
  void mark_map(const KernelMarks::Taken& taken);
  void mark_flights_again();
  uint64_t counter(block_writes_counter which) const { return program_->counters[which].load(); }

  std::unique_ptr<BlockDevice> device_;
  FileDescriptor claim_;
  std::unique_ptr<BpfPins> pins_;  // null when it is not kept
  std::unique_ptr<BpfProgram> program_;
  std::unique_ptr<KernelMarks> marks_;
  std::unique_ptr<WriteAccount> account_;
  WatchStats before_;  // what was counted before this process
  uint64_t sectors_ = 0;

  std::mutex mutex_;  // one collects at a time; map_, stop_
  std::condition_variable changed_;
  DirtyMap* map_ = nullptr;
  bool stop_ = false;
  std::thread thread_;
  std::vector<KernelMarks::Taken> taken_;
  std::vector<Flight> flights_;
};

// What was pinned for a disk that had the number before is of no use to anybody.
Status open_pins(const BlockDevice& device, std::unique_ptr<BpfPins>* pins) {
  std::string number = device.number() + "-";
  std::string name = number + std::to_string(device.sequence());
  for (const auto& folder : BpfPins::list()) {
    bool is_old = folder.name.starts_with(number) && folder.name != name;
    if (is_old && !folder.in_use) (void)BpfPins::remove(folder.name);
  }
  return BpfPins::open(name, pins);
}

uint64_t new_token() {
  std::random_device random;
  return (uint64_t{random()} << 32 | random()) | 1;  // 0 is nobody's
}

Status BpfWatch::open(const std::string& path, uint64_t* token) {
  block_writes_target target;
  Status status = find_watched_device(path, &device_, &target);
  if (status.ok()) status = claim_device(device_->number(), path, &claim_);
  if (!status.ok()) return status;
  sectors_ = target.sectors;
  if (token != nullptr) status = open_pins(*device_, &pins_);
  if (!status.ok()) return status;
  bool taken_over = token != nullptr && *token != 0 && take_over(target, *token).ok();
  if (!taken_over) status = load(target, token);
  if (status.ok()) status = start_thread(&thread_, [this] { run(); });
  return status;
}

Status BpfWatch::take_over(const block_writes_target& target, uint64_t token) {
  Status status = BpfProgram::find(*pins_, target, &program_);
  if (!status.ok()) return status;
  if (counter(KEPT_TOKEN) != token) {
    return Status::failure(Code::not_found, "the program that is pinned has another map file");
  }
  use_program();
  before_ = {counter(COUNT_WRITES), counter(COUNT_BYTES)};
  mark_flights_again();
  marks_->recover();
  return {};
}

void BpfWatch::use_program() {
  marks_ = std::make_unique<KernelMarks>(program_->marks.all(), program_->summary.all(),
                                         program_->notes.all());
  account_ = std::make_unique<WriteAccount>(*device_, *program_);
}

// What is pinned already is of no use.
Status BpfWatch::load(const block_writes_target& target, uint64_t* token) {
  program_.reset();
  if (pins_) pins_->clear();
  Status status = BpfProgram::load(target, &program_);
  if (status.ok()) status = program_->attach();
  if (!status.ok()) return status;
  use_program();
  status = account_->begin();
  if (!status.ok() || !pins_) return status;
  *token = new_token();
  program_->counters[KEPT_TOKEN].store(*token);
  return program_->pin(*pins_);
}

BpfWatch::~BpfWatch() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void BpfWatch::track(DirtyMap* map) {
  {
    std::lock_guard lock(mutex_);
    map_ = map;
  }
  changed_.notify_all();
}

void BpfWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (!map_) {
      changed_.wait(lock);
      continue;
    }
    auto begin = Clock::now();
    (void)collect_locked();
    auto pause = std::max<Clock::duration>(kPause, kShare * (Clock::now() - begin));
    changed_.wait_for(lock, pause, [this] { return stop_; });
  }
}

void BpfWatch::collect() {
  std::lock_guard lock(mutex_);
  if (map_) (void)collect_locked();
}

// Without memory what was taken goes back, and is found the next time.
Status BpfWatch::collect_locked() {
  Status status = contain([this] {
    collect_all();
    return Status{};
  });
  if (!status.ok()) marks_->recover();
  return status;
}

void BpfWatch::collect_all() {
  for (uint64_t at = 0; at < marks_->summary_words();) {
    at = marks_->take(at, &taken_);
    if (taken_.empty()) continue;
    mark_flights_again();
    for (const auto& taken : taken_) mark_map(taken);
    marks_->kept(taken_);
  }
}

void BpfWatch::mark_map(const KernelMarks::Taken& taken) {
  for (uint64_t bits = taken.bits; bits != 0;) {
    uint64_t first = std::countr_zero(bits);
    uint64_t count = std::countr_one(bits >> first);
    map_->mark((taken.word * 64 + first) * kBlock, count * kBlock);
    if (first + count == 64) break;
    bits &= ~0ull << (first + count);
  }
}

void BpfWatch::mark_flights_again() {
  program_->flights(&flights_);
  for (const Flight& flight : flights_) marks_->mark(flight.blocks);
}

Status BpfWatch::check() const {
  uint64_t sectors = 0;
  Status status = device_->sectors(&sectors);
  if (status.ok() && sectors != sectors_) {
    return Status::failure(Code::bad_size, device_->path() + " has changed its size");
  }
  return status.ok() ? account_->check() : status;
}

Status BpfWatch::drain(Clock::duration limit) {
  auto begin = Clock::now();
  auto idle_since = begin;
  bool balanced = false;
  std::vector<Flight> landed;
  for (;;) {
    program_->flights(&landed);
    balanced = account_->balances();  // then all of those have landed
    if (balanced) break;
    auto now = Clock::now();
    uint64_t in_flight = 0;
    Status status = device_->writes_in_flight(&in_flight);
    if (!status.ok()) return status;
    if (in_flight != 0) idle_since = now;
    if (now - idle_since > kGrace) break;
    if (now - begin > limit) {
      return Status::failure(Code::timeout, device_->path() + " is still being written");
    }
    std::this_thread::sleep_for(kLook);
  }
  std::lock_guard lock(mutex_);
  for (const Flight& flight : landed) {
    marks_->mark(flight.blocks);
    program_->forget(flight);
  }
  Status status = map_ ? collect_locked() : Status{};
  if (status.ok()) status = check();
  return !status.ok() || balanced ? status : account_->unbalanced();
}

WatchStats BpfWatch::stats() const {
  return {counter(COUNT_WRITES) - before_.writes, counter(COUNT_BYTES) - before_.written_bytes};
}

Status open_watch(const std::string& path, uint64_t* token, std::unique_ptr<WriteWatch>* watch) {
  auto opened = std::make_unique<BpfWatch>();
  Status status = opened->open(path, token);
  if (status.ok()) *watch = std::move(opened);
  return status;
}

}  // namespace

Status open_bpf_watch(const std::string& path, std::unique_ptr<WriteWatch>* watch) {
  return open_watch(path, nullptr, watch);
}

Status open_kept_bpf_watch(const std::string& path, uint64_t* token,
                           std::unique_ptr<WriteWatch>* watch) {
  return open_watch(path, token, watch);
}

Status check_bpf_watch(const std::string& path) {
  std::unique_ptr<BlockDevice> device;
  block_writes_target target;
  Status status = find_watched_device(path, &device, &target);
  target.sectors = 1;  // it need not have the memory for all of them
  std::unique_ptr<BpfProgram> program;
  return status.ok() ? BpfProgram::load(target, &program) : status;
}

}  // namespace blockferry
