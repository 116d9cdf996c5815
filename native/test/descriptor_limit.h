// Takes every descriptor that is left, until it goes.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "base/file_descriptor.h"
#include "test/check.h"

class NoDescriptors {
 public:
  // All but `left`.
  explicit NoDescriptors(int left = 0) {
    CHECK(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    rlimit few = {std::min<rlim_t>(before_.rlim_cur, 256), before_.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int fd = dup(0); fd >= 0; fd = dup(0)) taken_.emplace_back(fd);
    for (; left > 0; left--) taken_.pop_back();
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_;
  std::vector<blockferry::FileDescriptor> taken_;
};
