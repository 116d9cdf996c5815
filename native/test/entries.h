// How much there is in a folder: a process's descriptors and threads, above all.
#pragma once

#include <dirent.h>

#include "test/check.h"

namespace blockferry {

inline size_t entries_of(const char* path) {
  DIR* folder = opendir(path);
  CHECK(folder != nullptr);
  size_t count = 0;
  while (readdir(folder) != nullptr) count++;
  closedir(folder);
  return count - 2;  // . and ..
}

}  // namespace blockferry
