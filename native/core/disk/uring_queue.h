// The IoQueue on io_uring: reads and writes in the ring, what the ring can't do on threads.
#pragma once

#include <memory>

#include "disk/io_queue.h"

namespace blockferry {

// Null when the kernel has no io_uring (or forbids it), or the origin no descriptor.
std::unique_ptr<IoQueue> make_uring_queue(Origin& origin, unsigned depth);

}  // namespace blockferry
