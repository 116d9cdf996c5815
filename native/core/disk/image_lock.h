// The lock on an image file, which meets those of QEMU's.
//
// QEMU marks what it does to an image by read locks on single bytes: 100 + permission for what it does,
// 200 + permission for what nobody else may do meanwhile. It sets its own, then looks for those of others;
// so does this, and of two that begin at once one at least sees the other.
#pragma once

#include <string>

#include "base/status.h"

namespace blockferry {

// Several may read, one may write and nobody else then reads. While somebody reads QEMU may read, too.
// It is held until the descriptor is closed. Code::busy.
Status lock_image(int fd, const std::string& path, bool read_only);

}  // namespace blockferry
