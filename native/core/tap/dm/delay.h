// dm-delay in front of dm-era: it slows the writers where no cgroup can. Reads pass it at once.
#pragma once

#include "base/status.h"
#include "tap/dm/device.h"

namespace blockferry {

// What a write may be delayed by at most: a suspend is given twice as long (DmWatchdog::kLimitMs).
inline constexpr unsigned kMaxDelayMs = 5000;

DmTable delay_table(uint64_t sectors, const DmDevice& below, unsigned ms);
bool is_delay(const DmTable& table);
// Of a device with such a table: writes are delayed no longer. Nothing is done to another one.
Status lift_delay(const DmDevice& device);

}  // namespace blockferry
