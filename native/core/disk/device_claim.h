// One tap a device: a claim that the kernel takes back when the process ends, however it does.
//
// It is the lock of one byte, the one that the device's number names, of a file below /run that only root
// can open: no other user can hold one, and it counts in all network namespaces. A lock on the device's own
// node would keep udev from it, or could be had by whoever may read the device, and a device can have
// several nodes. Processes that do not share /run, in containers of their own, don't meet.
#pragma once

#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

// `number` as in BlockDevice::number(), `path` for the message. Code::busy when another holds it,
// Code::no_permission also when others could write where the claims are kept.
Status claim_device(const std::string& number, const std::string& path, FileDescriptor* claim);

}  // namespace blockferry
