// A loop device over a file of a test's own, gone when the test is done, or killed.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "base/file_descriptor.h"
#include "test/check.h"
#include "test/temporary_folder.h"

class LoopDevice {
 public:
  // With `sector`, in bytes, that is its logical block size.
  explicit LoopDevice(uint64_t size, uint32_t sector = 512) : sector_(sector) {
    make(image(), size);
  }
  // Over a file elsewhere, which stays.
  LoopDevice(uint64_t size, const std::string& file) { make(file, size); }
  // Over another device, past the page cache: as slow as that.
  explicit LoopDevice(const LoopDevice& below) {
    file_.reset(open(below.path().c_str(), O_RDWR | O_CLOEXEC));
    CHECK(file_.open());
    attach(LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO);
  }
  LoopDevice& operator=(const LoopDevice&) = delete;

  const std::string& path() const { return path_; }
  // What lies below, of a file of its own.
  std::string image() const { return folder_ / "image"; }

 private:
  void make(const std::string& file, uint64_t size) {
    file_.reset(open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    CHECK(file_.open() && ftruncate(file_.get(), static_cast<off_t>(size)) == 0);
    attach(LO_FLAGS_AUTOCLEAR);
  }
  void attach(uint32_t flags) {
    blockferry::FileDescriptor control(open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    CHECK(control.open());
    // Another process may take the free one first.
    for (int tries = 0; tries < 100 && !device_.open(); tries++) {
      int number = ioctl(control.get(), LOOP_CTL_GET_FREE);
      CHECK(number >= 0);
      path_ = "/dev/loop" + std::to_string(number);
      device_.reset(open(path_.c_str(), O_RDWR | O_CLOEXEC));
      loop_config config = {};
      config.fd = static_cast<uint32_t>(file_.get());
      config.info.lo_flags = flags;
      config.block_size = sector_;
      if (device_.open() && ioctl(device_.get(), LOOP_CONFIGURE, &config) != 0) device_.reset();
    }
    CHECK(device_.open());
  }
  TemporaryFolder folder_;
  uint32_t sector_ = 512;
  blockferry::FileDescriptor file_, device_;
  std::string path_;
};
