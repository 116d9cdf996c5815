// The space that a file takes in its file system.
#pragma once

#include <cstdint>

namespace blockferry {

// All that its first `size` bytes, which it has, can need: an errno, or 0. What there is no room for is not
// begun: it would leave the file system full.
int allocate_space(int fd, uint64_t size);

// There is nothing sparse about it.
bool has_all_space(int fd);

}  // namespace blockferry
