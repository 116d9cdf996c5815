// One tap a device: a claim that the kernel takes back when the process ends, however it does.
#pragma once

#include <string>

#include "file_descriptor.h"
#include "status.h"

namespace blockferry {

// `number` as in BlockDevice::number(), `path` for the message. Code::busy when another holds it.
Status claim_device(const std::string& number, const std::string& path, FileDescriptor* claim);

}  // namespace blockferry
