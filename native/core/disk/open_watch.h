// Who else opens a file or a device, from now on: while our own writes change it all the time, nothing else
// tells of others'. Not seen are what was open before, who has it mapped only, other nodes of a device, what lies below
// or on top of it, and other hosts.
#pragma once

#include <memory>

#include "base/file_descriptor.h"

namespace blockferry {

class OpenWatch {
 public:
  // Of an open file; null where the kernel can't tell.
  static std::unique_ptr<OpenWatch> on(int fd);

  struct Seen {
    bool opened = false;   // for whatever
    bool written = false;  // may have been: who had it open for writing has closed it
  };
  // Since the last call.
  Seen seen();

 private:
  FileDescriptor events_;
};

}  // namespace blockferry
