#include "disk/disk_changes.h"

#include <time.h>

#include <chrono>
#include <thread>

namespace blockferry {

namespace {

// The longest tick. A time that lies further ahead was not of this clock.
constexpr uint64_t kTick = 10'000'000;

uint64_t file_clock_ns() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

DiskState settled_state_of(Origin& origin) {
  for (;;) {
    DiskState state = state_of(origin);
    uint64_t now = file_clock_ns();
    bool is_fresh = state.known && state.is_file && state.changed_ns >= now &&
                    state.changed_ns - now <= kTick;
    if (!is_fresh) return state;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace blockferry
