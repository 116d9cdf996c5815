// A tap on a block device whose writers go past us.
#pragma once

#include <memory>
#include <string>

#include "tap/tap.h"

namespace blockferry {

// They read the device past the page cache. With a `map` file, not empty, what is tracked outlives a
// kill of this process; see open_bpf_watch(), open_kept_bpf_watch(), Tracking::open() and
// open_file_origin() for the errors.
Status open_bpf_tap(const std::string& path, const std::string& map, uint32_t block_size,
                    std::shared_ptr<Tap>* tap);

// See open_dm_watch() for `metadata`, `delays` and the errors.
Status open_dm_tap(const std::string& path, const std::string& metadata, bool delays,
                   std::shared_ptr<Tap>* tap);

}  // namespace blockferry
