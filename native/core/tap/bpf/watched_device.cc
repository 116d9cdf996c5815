#include "tap/bpf/watched_device.h"

#include <cerrno>

namespace blockferry {

namespace {

Status missing(const BlockDevice& device, const std::string& what) {
  return Status::failure(Code::unsupported,
                         "the bpf tap can't watch " + device.path() + ": " + what);
}

Status check_device(const BlockDevice& device) {
  if (device.read_only()) {
    return Status::failure(Code::read_only, device.path() + " is read-only: no tap is needed",
                           EROFS);
  }
  std::string zoned = device.queue_setting("zoned");
  if (!zoned.empty() && zoned != "none") return missing(device, "it is a zoned device");
  // Drivers that take bios keep their own, whatever that says.
  if (device.queues() != 0 && device.queue_setting("iostats") != "1") {
    return missing(device, "the kernel keeps no statistics of it (queue/iostats is off)");
  }
  return {};
}

}  // namespace

Status find_watched_device(const std::string& path, std::unique_ptr<BlockDevice>* device,
                           block_writes_target* target) {
  Status status = BlockDevice::find(path, device);
  if (status.ok()) status = check_device(**device);
  uint64_t sectors = 0;
  if (status.ok()) status = (*device)->sectors(&sectors);
  if (!status.ok()) return status;
  if (sectors == 0) return Status::failure(Code::bad_size, path + " has no bytes");
  const BlockDevice& found = **device;
  *target = {found.disk_major(), found.disk_minor(), found.start(),    sectors,
             found.queues(),     found.tags(),       found.sequence(), 0};
  return {};
}

}  // namespace blockferry
