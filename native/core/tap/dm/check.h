// Whether dm-era can be put under a device, and why not.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "disk/block_device.h"
#include "tap/dm/device.h"

namespace blockferry {

// Code::not_found, Code::unsupported, Code::read_only, Code::no_permission.
Status check_dm_device(const std::string& path, std::unique_ptr<BlockDevice>* block,
                       DmDevice* device);
// The place for the metadata (see EraStore) does not lie on the device: dm-era would wait for itself.
// Code::invalid.
// The same, and dm-delay can be had for it.
Status check_dm_delay(const std::string& path);
Status check_dm_metadata(const BlockDevice& device, const std::string& place);
// The part of it that concerns its table: Code::unsupported.
Status check_dm_table(const std::string& path, const DmDevice& device);

}  // namespace blockferry
