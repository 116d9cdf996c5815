// A block device that acknowledges what it can't keep: a loop device over a file on a full tmpfs. What
// is written through the page cache is taken, and lost when it is written back.
#pragma once

#include <sys/mount.h>

#include <memory>

#include "test/loop_device.h"

class LosingDevice {
 public:
  static constexpr uint64_t kSize = 64 << 20;
  static constexpr uint64_t kRoom = 4 << 20;  // so much it keeps

  LosingDevice() {
    CHECK(mount("none", folder_.path().c_str(), "tmpfs", 0, "size=4M") == 0);
    device_ = std::make_unique<LoopDevice>(kSize, folder_ / "image");
  }
  ~LosingDevice() {
    device_.reset();
    umount2(folder_.path().c_str(), MNT_DETACH);
  }

  const std::string& path() const { return device_->path(); }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<LoopDevice> device_;
};
