// What a process has left of a DmStack: found by the inner device, and taken out.
#pragma once

#include <string>

#include "base/status.h"
#include "tap/dm/device.h"
#include "tap/dm/stack.h"

namespace blockferry {

std::string inner_name(const DmInfo& device);
std::string moved_name(const DmInfo& device);  // of its inner device, see moved.h
bool is_moved(const DmInfo& inner);
std::string inner_uuid(const DmInfo& device);
std::string era_name(const DmInfo& device);
std::string era_uuid(const DmInfo& device);
Status fenced_device(const std::string& name);  // Code::refused
DmTable error_table(uint64_t sectors);
// The inner device of this one. Code::not_found.
Status find_inner(const DmInfo& device, DmInfo* inner);
// Of a device that has an inner one.
Status find_state(const DmInfo& device, const DmInfo& inner, DmLeft::State* state);
// It may take a moment until nobody has it open: udev looks at each new device.
Status remove_soon(const DmDevice& device);
// As clean_dm_stack(), of a device that is claimed.
Status take_out(const DmInfo& device, const DmInfo& inner, bool owned);

}  // namespace blockferry
