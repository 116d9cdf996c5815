// What the kernel tells in files and folders (/proc, /sys), where each can vanish at any time.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace blockferry {

// What is in a folder now; when it vanishes meanwhile, what was there.
inline std::vector<std::filesystem::path> entries_of(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> entries;
  std::error_code error;
  std::filesystem::directory_iterator at(folder, error);
  for (; !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    entries.push_back(at->path());
  }
  return entries;
}

// Empty when there is none.
inline std::string first_line(const std::filesystem::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

}  // namespace blockferry
