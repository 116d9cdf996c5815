// What the bpf watch needs of a block device.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "disk/block_device.h"
#include "tap/bpf/program/block_writes.h"

namespace blockferry {

// Code::read_only, Code::unsupported, Code::bad_size, and what BlockDevice::find() says.
Status find_watched_device(const std::string& path, std::unique_ptr<BlockDevice>* device,
                           block_writes_target* target);

}  // namespace blockferry
