// A block device as the kernel describes it in sysfs: a whole disk, or a partition of one. Nothing
// here opens the device itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace blockferry {

class BlockDevice {
 public:
  // Code::not_found, Code::unsupported (no block device).
  static Status find(const std::string& path, std::unique_ptr<BlockDevice>* device);

  const std::string& path() const { return path_; }
  // Of the device itself, which may be a partition: "7:0".
  const std::string& number() const { return number_; }
  // Of the disk that it is, or is a part of.
  unsigned disk_major() const { return disk_major_; }
  unsigned disk_minor() const { return disk_minor_; }
  // Of the disk: counts what ever came under any number (Linux 5.15), so that one that comes under
  // the same number later has another. 0 where that can't be told.
  uint64_t sequence() const { return sequence_; }
  // Where it lies on that disk, in sectors of 512 bytes.
  uint64_t start() const { return start_; }
  // Now: a device can be resized.
  Status sectors(uint64_t* sectors) const;
  // The disk takes its writes as requests, in hardware queues with so many tags each. No queues:
  // it takes bios.
  unsigned queues() const { return queues_; }
  unsigned tags() const { return tags_; }
  // A word of the disk's `queue` folder; empty when there is none.
  std::string queue_setting(const std::string& name) const;
  Status set_queue(const std::string& name, const std::string& value) const;
  bool read_only() const;
  // By device-mapper.
  bool mapped() const;
  // Numbers of this device, and of all that is made of it: partitions, mapped devices, and so on.
  std::vector<std::string> with_users() const;

  // Of the whole disk, since it came: sectors written and discarded by requests that have ended.
  Status written_sectors(uint64_t* sectors) const;
  // The same, since it came: requests to write, sectors that they wrote, requests to discard.
  struct Written {
    uint64_t writes = 0, sectors = 0, discards = 0;
  };
  Status written(Written* written) const;
  // Writes that the disk's driver has not ended.
  Status writes_in_flight(uint64_t* count) const;
  // Holds new requests back until those under way have ended, then lets them go on: some
  // milliseconds. Older kernels (6.1) let them run.
  Status drain_queue() const;
  // The same by any kernel, but the queue's depth is less for that time. Fails where the device has
  // none, bio-based.
  Status drain_queue_by_depth() const;

 private:
  Status measure_queues();

  std::string path_, number_;
  std::string folder_, disk_folder_;  // in sysfs
  unsigned disk_major_ = 0, disk_minor_ = 0;
  uint64_t start_ = 0, sequence_ = 0;
  unsigned queues_ = 0, tags_ = 0;
};

}  // namespace blockferry
