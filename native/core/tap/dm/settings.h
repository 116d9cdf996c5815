// What somebody has set of a device's queue: LVM its read-ahead, an administrator the rest. A change of
// the table resets it. The inner device of a stack keeps it, so it outlives this process.
#pragma once

#include "tap/dm/device.h"

namespace blockferry {

// What can't be set there stays as it is.
void copy_settings(const DmDevice& from, const DmDevice& to);

}  // namespace blockferry
