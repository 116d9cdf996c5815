// A bandwidth cap lets nobody wait for what no longer holds.
// sanitizers: address, thread
#include <algorithm>
#include <atomic>
#include <future>
#include <vector>

#include "net/fair_queue.h"
#include "net/pacer.h"
#include "test/check.h"

using namespace blockferry;

namespace {

constexpr uint64_t kMiB = 1 << 20;

// Somebody who waits for weeks, until something happens.
class Waiter {
 public:
  explicit Waiter(Pacer& pacer) {
    pacer.wait(kMiB, [] { return false; });  // the first one never waits
    done_ = std::async(std::launch::async,
                       [this, &pacer] { pacer.wait(kMiB, [this] { return stop_.load(); }); });
    CHECK(done_.wait_for(std::chrono::milliseconds(60)) == std::future_status::timeout);
  }
  void stop() { stop_ = true; }
  void check_done() {
    CHECK(done_.wait_for(std::chrono::seconds(30)) == std::future_status::ready);
  }

 private:
  std::atomic<bool> stop_{false};
  std::future<void> done_;
};

void check(const char* name, const std::function<void(Pacer&, Waiter&)>& happens) {
  Pacer pacer;
  pacer.set(1);
  Waiter waiter(pacer);
  happens(pacer, waiter);
  waiter.check_done();
  printf("ok %s\n", name);
}

void check_shared() {
  auto above = std::make_shared<SharedPacer>();
  above->set(1);
  Pacer pacer;
  pacer.share(above);
  Waiter waiter(pacer);
  above->set(1e12);
  waiter.check_done();
  printf("ok a shared cap that is raised\n");
}

// One asks for twice as much at a time, and with two streams at once.
void check_shares() {
  FairQueue queue;
  FairQueue::Flow flows[2];
  std::vector<std::pair<int, FairQueue::Request>> waiting;
  constexpr uint64_t kTurn[] = {64 << 10, 128 << 10};
  for (int who : {0, 1, 1}) waiting.push_back({who, queue.enter(flows[who], kTurn[who])});
  uint64_t sent[2] = {};
  for (int turn = 0; turn < 300; turn++) {
    auto first = std::find_if(waiting.begin(), waiting.end(),
                              [&](auto& one) { return queue.is_first(one.second); });
    CHECK(first != waiting.end());
    auto [who, request] = *first;
    queue.serve(request);
    sent[who] += kTurn[who];
    *first = {who, queue.enter(flows[who], kTurn[who])};
    CHECK(std::max(sent[0], sent[1]) - std::min(sent[0], sent[1]) <= 2 * kTurn[1]);
  }
  printf("ok equal shares\n");
}

// What it did not send before gives it no more than its share now.
void check_idle() {
  FairQueue queue;
  FairQueue::Flow busy, idle;
  for (int turn = 0; turn < 100; turn++) queue.serve(queue.enter(busy, kMiB));
  auto late = queue.enter(idle, kMiB), next = queue.enter(idle, kMiB),
       other = queue.enter(busy, kMiB);
  CHECK(queue.is_first(late));
  queue.serve(late);
  queue.leave(next);
  CHECK(queue.is_first(other));
  printf("ok idle time is not saved up, and who leaves is waited for no longer\n");
}

}  // namespace

int main() {
  check("a cap that is raised", [](Pacer& pacer, Waiter&) { pacer.set(1e12); });
  check("a cap that is taken away", [](Pacer& pacer, Waiter&) { pacer.set(0); });
  check("the end", [](Pacer&, Waiter& waiter) { waiter.stop(); });
  check_shared();
  check_shares();
  check_idle();
}
