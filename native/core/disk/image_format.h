// Images in a format of their own, which are not what a guest would see: they begin, or end, with a word
// that names it. A guest may write such a word into a raw disk.
#pragma once

#include "disk/origin.h"

namespace blockferry {

// Code::unsupported, and which format it is. A disk that can't be read is none of these.
Status check_raw(Origin& origin);

}  // namespace blockferry
