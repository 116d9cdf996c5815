// Fences of devices whose disk is known to have moved away, and migrations that come back to them.
//
// A fence keeps two sides from writing while the other one owns the disk, or may. When it is known that
// the other one does, what lies here is an old copy, which a migration may overwrite as it may any
// device that it is given. What is left to fear are the writers of before, who would go on where the
// fence goes: so nobody may have the device open. A fence whose migration's outcome is not known stays,
// for this may be the only copy that counts.
//
// The mark is the name of the inner device: it lives and dies with the fence, whoever set it.
#pragma once

#include <string>

#include "base/status.h"

namespace blockferry {

// All take a path. One that is no device with a fence is fine, and stays as it is.

// Its disk is known to be another side's, as recover() can say of one whose process was killed.
Status mark_moved(const std::string& path);
// Unfences it for a migration that comes to it. Code::refused when its disk is not known to have moved,
// Code::busy when somebody has it open, or the process lives that fenced it.
Status unfence_moved(const std::string& path);

}  // namespace blockferry
