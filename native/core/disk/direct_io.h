// Direct I/O: past the page cache, in whole units of the device below.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <shared_mutex>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

// The smallest unit in which O_DIRECT reads work: 512 where it does, else 4096, 0 if not at all. When
// reading fails for another reason, so much as always works.
Status direct_alignment(int fd, const std::string& path, uint32_t* alignment);

// Some file systems take O_DIRECT and go through the page cache all the same (ext4 that journals data).
bool passes_page_cache(int fd);

// The bytes of a disk whose size is no multiple of the unit: its end, and what else is not asked for in
// whole units. They go through the page cache. What is written has left it when write() returns, so no
// page can be lost whose loss a flush past the page cache would have to tell of. The writes that go past
// it hold shared() meanwhile: they must not meet a page that is dirty for a moment.
class PartUnits {
 public:
  // `direct`: what is open for direct I/O.
  Status begin(int direct, bool read_only);
  bool begun() const { return fd_.open(); }
  std::shared_lock<std::shared_mutex> shared();

  int fd() const { return fd_.get(); }
  // Like pwrite(). Stable when it returns.
  ssize_t write(const void* bytes, uint64_t length, uint64_t offset);

 private:
  FileDescriptor fd_;
  std::shared_mutex turn_;
};

}  // namespace blockferry
