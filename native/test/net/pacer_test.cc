// A bandwidth cap lets nobody wait for what no longer holds.
// sanitizers: address, thread
#include <atomic>
#include <future>

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
    done_ = std::async(std::launch::async, [this, &pacer] {
      pacer.wait(kMiB, [this] { return stop_.load(); });
    });
    CHECK(done_.wait_for(std::chrono::milliseconds(60)) == std::future_status::timeout);
  }
  void stop() { stop_ = true; }
  void check_done() { CHECK(done_.wait_for(std::chrono::seconds(30)) == std::future_status::ready); }

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
  auto above = std::make_shared<Pacer>();
  above->set(1);
  Pacer pacer;
  pacer.share(above);
  Waiter waiter(pacer);
  above->set(1e12);
  waiter.check_done();
  printf("ok a shared cap that is raised\n");
}

}  // namespace

int main() {
  check("a cap that is raised", [](Pacer& pacer, Waiter&) { pacer.set(1e12); });
  check("a cap that is taken away", [](Pacer& pacer, Waiter&) { pacer.set(0); });
  check("the end", [](Pacer&, Waiter& waiter) { waiter.stop(); });
  check_shared();
}
