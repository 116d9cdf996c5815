// The moments at which a write could get lost, one by one: it lands while its block is read, or
// while the hole that it lies in is looked at, or it is not yet on stable storage when the
// destination says that it is.
// sanitizers: address, thread
#include <algorithm>
#include <map>

#include "test/check.h"
#include "test/migration_pair.h"
#include "test/nbd/test_origin.h"

using namespace blockferry;

namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kSize = 32 << 20;

// A disk that is written just when it has been read, or has been looked at for a hole: each place
// once, at the `look`th time.
class BusyOrigin : public TestOrigin {
 public:
  using TestOrigin::TestOrigin;
  // Both are told of the place: a block that was read, the last block of what is a hole.
  std::function<void(uint64_t offset)> after_read, after_look;
  int look = 1;

  Status read(void* buffer, uint64_t offset, uint64_t length) override {
    Status status = TestOrigin::read(buffer, offset, length);
    tell(after_read, offset);
    return status;
  }
  bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) override {
    bool done = TestOrigin::read_without_waiting(buffer, offset, length);
    if (done) tell(after_read, offset);
    return done;
  }
  Status hole_at(uint64_t offset, uint64_t length, uint64_t* hole) override {
    std::vector<uint8_t> bytes(length);
    CHECK(TestOrigin::read(bytes.data(), offset, length).ok());
    auto data = std::find_if(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte != 0; });
    *hole = static_cast<uint64_t>(data - bytes.begin());
    if (*hole == length) tell(after_look, offset + length - kBlock);
    return {};
  }

 private:
  void tell(const std::function<void(uint64_t)>& hook, uint64_t offset) {
    if (!hook) return;
    {
      std::lock_guard lock(told_mutex_);
      if (++looks_[offset] != look) return;
    }
    hook(offset);
  }

  std::mutex told_mutex_;
  std::map<uint64_t, int> looks_;
};

// Loses what was not flushed.
class PowerCutOrigin : public TestOrigin {
 public:
  using TestOrigin::TestOrigin;

  Status flush() override {
    std::vector<uint8_t> now = content();
    Status status = TestOrigin::flush();
    std::lock_guard lock(stable_mutex_);
    stable_ = std::move(now);
    return status;
  }
  std::vector<uint8_t> after_power_cut() {
    std::lock_guard lock(stable_mutex_);
    return stable_;
  }

 private:
  std::mutex stable_mutex_;
  std::vector<uint8_t> stable_;
};

// Moves a disk that is written through its tap at the moments that `arrange` asks for.
void move(uint64_t data,
          const std::function<void(BusyOrigin&, std::function<void(uint64_t)>)>& arrange) {
  auto origin = std::make_unique<BusyOrigin>(kSize);
  BusyOrigin& busy = *origin;
  std::vector<uint8_t> old(data, 1);
  CHECK(busy.write(old.data(), 0, data, false).ok());
  std::vector<Disk> sources, targets{Disk(kSize)};
  sources.emplace_back(std::move(origin));
  std::atomic<int> writes{0};
  arrange(busy, [&](uint64_t offset) {
    uint8_t bytes[kBlock];
    memset(bytes, 2, sizeof bytes);
    write_through(*sources[0].tap, bytes, offset, sizeof bytes);
    writes++;
  });
  Pair pair(sources, targets, kBlock, 2);
  pair.sender.start();
  pair.bulk.wait(1);
  pair.sender.finish(1);
  pair.verified.wait(1);
  CHECK(writes.load() > 0);
  CHECK(pair.wrong.empty() && pair.session->missing(0) == 0);
  busy.after_read = busy.after_look = nullptr;
  CHECK(equal(busy, targets[0].tap->origin(), kSize));
}

void durable_is_durable() {
  std::vector<Disk> sources{Disk(kSize)}, targets;
  fill(*sources[0].tap, 3, 0.2);
  auto origin = std::make_unique<PowerCutOrigin>(kSize);
  PowerCutOrigin& target = *origin;
  targets.emplace_back(std::move(origin));
  Pair pair(sources, targets, kBlock, 2);
  std::vector<uint8_t> kept;
  pair.on_durable = [&](uint64_t) { kept = target.after_power_cut(); };
  pair.sender.start();
  pair.bulk.wait(1);
  pair.sender.finish(1);
  pair.verified.wait(1);
  CHECK(kept.size() == kSize);
  std::vector<uint8_t> wanted(kSize);
  CHECK(sources[0].tap->origin().read(wanted.data(), 0, kSize).ok());
  CHECK(kept == wanted);
}

}  // namespace

int main() {
  move(kSize / 2, [](BusyOrigin& origin, auto write) { origin.after_read = write; });
  puts("ok written while it is read");
  // It is looked at before the claim, and again after it.
  for (int look : {1, 2}) {
    move(kSize / 8, [look](BusyOrigin& origin, auto write) {
      origin.after_look = write;
      origin.look = look;
    });
    printf("ok written while it is taken for a hole, look %d\n", look);
  }
  durable_is_durable();
  puts("ok what is called durable survives a power cut");
}
