// Opens the file or device of a disk, or makes the file.
#pragma once

#include "base/file_descriptor.h"
#include "disk/origin.h"

namespace blockferry {

// As open_file_origin() is asked to. One that it makes has its size and is there after a crash, or is not
// there at all. A device is opened exclusively where it is to be held, if not by force.
Status open_file(const FileOriginOptions& options, FileDescriptor* fd, bool* created);

}  // namespace blockferry
