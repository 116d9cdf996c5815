#include "disk/disk_changes.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "disk/durability.h"

namespace blockferry {

namespace {

// The longest tick. A time that lies further ahead was not of this clock.
constexpr uint64_t kTick = 10'000'000;
constexpr int kMostLooks = 100;
constexpr uint64_t kChangesAllTheTime = 0;  // never what is seen the next time

uint64_t file_clock_ns() {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Another change might not show.
bool is_fresh(const DiskState& state) {
  uint64_t now = file_clock_ns();
  return state.known && state.is_file && state.changed_ns >= now && state.changed_ns - now <= kTick;
}

}  // namespace

DiskState settled_state_of(Origin& origin) {
  // A program that has a page mapped and dirty changes it without a trace; once it was written back the
  // next store shows.
  if (FileDescriptor own = reopen(origin.descriptor(), O_RDONLY); own.open()) fdatasync(own.get());
  DiskState state = state_of(origin);
  for (int looks = 1; looks < kMostLooks && is_fresh(state); looks++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    state = state_of(origin);
  }
  if (is_fresh(state)) state.changed_ns = kChangesAllTheTime;
  return state;
}

}  // namespace blockferry
