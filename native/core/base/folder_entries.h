// What is in a folder now, of /proc or /sys too, where it can vanish meanwhile: then what was there.
#pragma once

#include <filesystem>
#include <vector>

namespace blockferry {

inline std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> entries;
  std::error_code error;
  std::filesystem::directory_iterator at(folder, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    entries.push_back(at->path());
  }
  return entries;
}

}  // namespace blockferry
