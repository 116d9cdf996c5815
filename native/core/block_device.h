// A block device as the kernel describes it in sysfs: a whole disk, or a partition of one. Nothing
// here opens the device itself.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "status.h"

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
  bool read_only() const;

  // Of the whole disk, since it came: sectors written and discarded by requests that have ended.
  Status written_sectors(uint64_t* sectors) const;
  // Writes that the disk's driver has not ended.
  Status writes_in_flight(uint64_t* count) const;
  // Holds new requests back until those under way have ended, then lets them go on: some
  // milliseconds. Code::unsupported where the kernel has no such knob.
  Status drain_queue() const;

 private:
  Status measure_queues();

  std::string path_, number_;
  std::string folder_, disk_folder_;  // in sysfs
  unsigned disk_major_ = 0, disk_minor_ = 0;
  uint64_t start_ = 0;
  unsigned queues_ = 0, tags_ = 0;
};

}  // namespace blockferry
