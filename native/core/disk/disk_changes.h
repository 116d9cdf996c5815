// Whether anybody has changed a disk that nobody may write: it is looked at twice.
#pragma once

#include "disk/disk_witness.h"

namespace blockferry {

// As it is now, so that whatever is changed from now on makes state_of() another. Takes some milliseconds
// when a file was changed just before: within a tick of the clock that files go by two changes can look like
// one. Of a file that is changed all the time a state that it never has.
DiskState settled_state_of(Origin& origin);

}  // namespace blockferry
