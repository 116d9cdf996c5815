// Takes the threads away from a test: the kernel refuses to start one.
#pragma once

#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "base/start_thread.h"
#include "test/check.h"
#include "test/entries.h"

namespace blockferry {

// The limit counts for a user's processes together, and not for root.
inline void become_a_user_of_its_own() {
  constexpr uid_t kUser = 64'923;
  if (getuid() != 0) return;
  CHECK(setresuid(kUser, kUser, kUser) == 0);
  CHECK(prctl(PR_SET_DUMPABLE, 1) == 0);  // /proc/self and the sanitizers need it
}

inline size_t threads_now() { return entries_of("/proc/self/task"); }

// While it lives, so many more may be started.
class ThreadLimit {
 public:
  explicit ThreadLimit(size_t more) {
    CHECK(getrlimit(RLIMIT_NPROC, &before_) == 0);
    rlimit limit = before_;
    limit.rlim_cur = std::min<rlim_t>(more == 0 ? 0 : threads_now() + more, before_.rlim_max);
    CHECK(setrlimit(RLIMIT_NPROC, &limit) == 0);
  }
  ~ThreadLimit() { CHECK(setrlimit(RLIMIT_NPROC, &before_) == 0); }

 private:
  rlimit before_ = {};
};

inline bool threads_can_be_limited() {
  ThreadLimit none(0);
  std::thread thread;
  if (!start_thread(&thread, [] {}).ok()) return true;
  thread.join();
  return false;
}

}  // namespace blockferry
