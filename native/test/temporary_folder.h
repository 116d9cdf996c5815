// A folder of a test's own, gone with all that is in it when the test is done.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include "test/check.h"

class TemporaryFolder {
 public:
  TemporaryFolder() : path_(std::filesystem::temp_directory_path() / "blockferry-test-") {
    path_ += std::string(6, 'X');  // what mkdtemp replaces
    CHECK(mkdtemp(path_.data()) != nullptr);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};
