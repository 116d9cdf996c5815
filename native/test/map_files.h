// A disk with a map file, in a folder of the test's own.
#pragma once

#include <string>

#include "test/migration_pair.h"

namespace blockferry {

inline constexpr uint64_t kSize = 16 << 20;
inline constexpr uint32_t kBlock = 4096;
inline constexpr uint64_t kBlocks = kSize / kBlock;

struct Paths {
  explicit Paths(const TemporaryFolder& folder) : disk(folder / "disk"), map(folder / "disk.map") {}
  std::string disk, map;
};

inline std::unique_ptr<Origin> open_disk(const Paths& paths, uint64_t size = kSize) {
  FileOriginOptions options;
  options.path = paths.disk;
  options.create_size = size;
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  return origin;
}

inline std::shared_ptr<Tracking> open_tracking(const Paths& paths, Origin& origin,
                                               uint32_t block_size = kBlock) {
  std::shared_ptr<Tracking> tracking;
  CHECK(Tracking::open(paths.map, origin, block_size, &tracking).ok());
  return tracking;
}

inline Disk open_tap(const Paths& paths) {
  Disk disk(1 << 20);
  auto origin = open_disk(paths);
  auto tracking = open_tracking(paths, *origin);
  disk.tap = std::make_shared<Tap>(std::move(origin), tracking);
  return disk;
}

inline void migrate_and_close(const Paths& paths) {
  std::vector<Disk> sources{open_tap(paths)}, targets{Disk(kSize)};
  fill(*sources[0].tap, 1, 0.5);
  Pair pair(sources, targets, kBlock, 2);
  pair.sender.start();
  pair.sender.finish(1);
  pair.verified.wait(1);
  CHECK(pair.wrong.empty());
}

}  // namespace blockferry
