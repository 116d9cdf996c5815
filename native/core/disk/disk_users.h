// Who else writes a disk, as far as it can be known: the kernel tells it in /proc and /sys, and of a
// process only to its own user and to root. That nobody is found there proves nothing.
#pragma once

#include <string>

#include "base/status.h"

namespace blockferry {

// Of an open file or device. Code::busy, and who it is, when another process keeps it open for writing, a
// loop device lies over it, or a guest of Xen's has it. Of a device its partitions count, all that is made
// of it, and the disk that it is a part of. Whoever has mapped a file and closed it is not found: to read
// what processes have mapped takes long, and for ever when one of them is stuck in the kernel.
Status check_no_writer(int fd, const std::string& path);

// The device could not be opened exclusively: Code::busy, and who has it, where that can be known.
Status claimed_device(const std::string& path);

}  // namespace blockferry
