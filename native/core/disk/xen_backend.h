// Devices that Xen's blkback serves to a guest: the kernel has them open, and no process shows it.
#pragma once

#include <string>
#include <vector>

namespace blockferry {

inline constexpr char kXenBackends[] = "/sys/bus/xen-backend/devices";

// Which domain may write to one of the devices with these numbers, in words: "7:0". Empty when none does.
std::string xen_user_of(const std::vector<std::string>& numbers,
                        const std::string& backends = kXenBackends);

}  // namespace blockferry
