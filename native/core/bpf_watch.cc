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
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "block_device.h"
#include "bpf_program.h"
#include "file_descriptor.h"
#include "start_thread.h"
#include "write_account.h"
#include "write_watch.h"

namespace blockferry {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr uint64_t kBlock = 1ull << BLOCK_WRITES_SHIFT;
constexpr uint64_t kSectorsPerWord = 64 * kBlock / 512;
// The words that are cleared before it is looked at what is in flight.
constexpr uint64_t kChunk = 4096;
constexpr milliseconds kPause{10};
// Collecting takes at most this share of a thread's time.
constexpr int kShare = 10;
constexpr std::chrono::microseconds kLook{200};
// The account is wrong when it does not balance so long after the last write has ended.
constexpr milliseconds kGrace{500};

class BpfWatch : public WriteWatch {
 public:
  ~BpfWatch() override;
  Status open(const std::string& path);
  void track(DirtyMap* map) override;
  Status settle(Clock::duration limit) override;
  Status check() const override;
  Status begin() override { return account_->begin(); }
  WatchStats stats() const override;

 private:
  Status claim_device();
  void run();
  void collect();
  void collect_words(uint64_t from, uint64_t to);
  void mark_flights_again();
  void mark_kernel(uint64_t packed);
  uint64_t counter(block_writes_counter which) const { return program_->counters[which].load(); }

  std::unique_ptr<BlockDevice> device_;
  std::unique_ptr<BpfProgram> program_;
  FileDescriptor claim_;
  std::unique_ptr<WriteAccount> account_;
  uint64_t sectors_ = 0;

  std::mutex mutex_;  // one collects at a time; map_, stop_
  std::condition_variable changed_;
  DirtyMap* map_ = nullptr;
  bool stop_ = false;
  std::thread thread_;
  std::vector<uint64_t> cleared_;
  std::vector<Flight> flights_;
};

Status missing(const BlockDevice& device, const std::string& what) {
  return Status::failure(Code::unsupported,
                         "the bpf tap can't watch " + device.path() + ": " + what);
}

Status check_device(const BlockDevice& device) {
  if (device.read_only()) {
    return Status::failure(Code::read_only, device.path() + " is read-only: no tap is needed",
                           EROFS);
  }
  std::string zoned = device.queue_setting("zoned");
  if (!zoned.empty() && zoned != "none") return missing(device, "it is a zoned device");
  // Drivers that take bios keep their own, whatever that says.
  if (device.queues() != 0 && device.queue_setting("iostats") != "1") {
    return missing(device, "the kernel keeps no statistics of it (queue/iostats is off)");
  }
  return {};
}

Status find_device(const std::string& path, std::unique_ptr<BlockDevice>* device,
                   block_writes_target* target) {
  Status status = BlockDevice::find(path, device);
  if (status.ok()) status = check_device(**device);
  uint64_t sectors = 0;
  if (status.ok()) status = (*device)->sectors(&sectors);
  if (!status.ok()) return status;
  if (sectors == 0) return Status::failure(Code::bad_size, path + " has no bytes");
  *target = {(*device)->disk_major(), (*device)->disk_minor(), (*device)->start(), sectors,
             (*device)->tags()};
  return {};
}

Status BpfWatch::open(const std::string& path) {
  block_writes_target target;
  Status status = find_device(path, &device_, &target);
  if (status.ok()) status = claim_device();
  if (!status.ok()) return status;
  sectors_ = target.sectors;
  uint64_t words = (sectors_ + kSectorsPerWord - 1) / kSectorsPerWord;
  status = BpfProgram::load(target, words, device_->queues() * device_->tags(), &program_);
  if (status.ok()) status = program_->attach();
  if (!status.ok()) return status;
  account_ = std::make_unique<WriteAccount>(*device_, *program_);
  status = account_->begin();
  if (status.ok()) status = start_thread(&thread_, [this] { run(); });
  return status;
}

BpfWatch::~BpfWatch() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

// A name that the kernel takes back when the process ends, however it does.
Status BpfWatch::claim_device() {
  std::string name = "blockferry-tap-" + device_->number();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name.data(), name.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  claim_.reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  bool claimed = claim_.open() &&
                 bind(claim_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0;
  if (claimed) return {};
  if (errno != EADDRINUSE) return Status::from_errno(errno, "claim " + device_->path());
  return Status::failure(Code::busy, device_->path() + " has a tap already", EBUSY);
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
    collect();
    auto pause = std::max<Clock::duration>(kPause, kShare * (Clock::now() - begin));
    changed_.wait_for(lock, pause, [this] { return stop_; });
  }
}

void BpfWatch::collect() {
  for (uint64_t word = 0; word < program_->marks.size(); word += kChunk) {
    collect_words(word, std::min(word + kChunk, program_->marks.size()));
  }
}

void BpfWatch::collect_words(uint64_t from, uint64_t to) {
  cleared_.clear();
  for (uint64_t word = from; word < to; word++) {
    if (program_->marks[word].load(std::memory_order_relaxed) == 0) continue;
    cleared_.push_back(word);
    cleared_.push_back(program_->marks[word].exchange(0));
  }
  if (cleared_.empty()) return;
  mark_flights_again();
  for (size_t i = 0; i < cleared_.size(); i += 2) {
    for (uint64_t bits = cleared_[i + 1]; bits != 0;) {
      uint64_t first = std::countr_zero(bits);
      uint64_t count = std::countr_one(bits >> first);
      map_->mark((cleared_[i] * 64 + first) * kBlock, count * kBlock);
      if (first + count == 64) break;
      bits &= ~0ull << (first + count);
    }
  }
}

void BpfWatch::mark_flights_again() {
  program_->flights(&flights_);
  for (const Flight& flight : flights_) mark_kernel(flight.blocks);
}

void BpfWatch::mark_kernel(uint64_t packed) {
  uint64_t first = packed >> BLOCK_WRITES_COUNT_BITS;
  uint64_t end = first + (packed & BLOCK_WRITES_COUNT_MASK);
  for (uint64_t block = first; block < end;) {
    uint64_t word = block / 64;
    uint64_t stop = std::min(end, (word + 1) * 64);
    uint64_t bits = stop - block == 64 ? ~0ull : ((1ull << (stop - block)) - 1) << block % 64;
    if (word < program_->marks.size()) program_->marks[word].fetch_or(bits);
    block = stop;
  }
}

Status BpfWatch::check() const {
  uint64_t sectors = 0;
  Status status = device_->sectors(&sectors);
  if (status.ok() && sectors != sectors_) {
    return Status::failure(Code::bad_size, device_->path() + " has changed its size");
  }
  return status.ok() ? account_->check() : status;
}

Status BpfWatch::settle(Clock::duration limit) {
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
    program_->forget(flight);
    mark_kernel(flight.blocks);
  }
  if (map_) collect();
  Status status = check();
  return !status.ok() || balanced ? status : account_->unbalanced();
}

WatchStats BpfWatch::stats() const { return {counter(COUNT_WRITES), counter(COUNT_BYTES)}; }

}  // namespace

Status open_bpf_watch(const std::string& path, std::unique_ptr<WriteWatch>* watch) {
  auto opened = std::make_unique<BpfWatch>();
  Status status = opened->open(path);
  if (status.ok()) *watch = std::move(opened);
  return status;
}

Status check_bpf_watch(const std::string& path) {
  std::unique_ptr<BlockDevice> device;
  block_writes_target target;
  Status status = find_device(path, &device, &target);
  std::unique_ptr<BpfProgram> program;
  if (status.ok()) {
    status = BpfProgram::load(target, 1, device->queues() * device->tags(), &program);
  }
  return status;
}

}  // namespace blockferry
