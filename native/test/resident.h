// How much memory the process holds.
#pragma once

#include <unistd.h>

#include <cstdio>

#include "test/check.h"

namespace blockferry {

inline long resident_kib() {
  FILE* file = fopen("/proc/self/statm", "re");
  long size = 0, resident = 0;
  CHECK(file != nullptr && fscanf(file, "%ld %ld", &size, &resident) == 2);
  fclose(file);
  return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

// The sanitizers hold memory of their own for each word.
inline bool grew_less(long before, long kib) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  (void)before, (void)kib;
  return true;
#else
  return resident_kib() - before < kib;
#endif
}

}  // namespace blockferry
