// Where dm-era keeps its metadata: memory, a nameless file in a folder, or a block device. The first
// two are a loop device that goes when nobody has it open any more, so a killed process leaves them
// no longer than the table that uses them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

class EraStore {
 public:
  // `place`: empty for memory, a folder, or a block device, whose content is lost: Code::refused when
  // that is anything but zeroes or older metadata. `bytes` are set aside: Code::no_space.
  static Status open(const std::string& place, uint64_t bytes, std::unique_ptr<EraStore>* store);

  // "7:0", as tables name devices.
  const std::string& number() const { return number_; }
  // Reads of this see what the kernel has written to the device. They are whole blocks of 4 KiB, and
  // so is their memory aligned.
  int descriptor() const { return data_.get(); }

 private:
  Status open_device(const std::string& path, uint64_t bytes);
  Status open_file(const std::string& folder, uint64_t bytes);
  Status attach_loop();

  std::string number_;
  FileDescriptor data_;
  FileDescriptor loop_;  // keeps it while no table does
};

}  // namespace blockferry
