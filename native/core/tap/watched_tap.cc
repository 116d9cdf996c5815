#include "tap/watched_tap.h"

namespace blockferry {

namespace {

// What the device holds. Others write to it, so there is no lock.
Status open_device(const std::string& path, std::unique_ptr<Origin>* origin) {
  FileOriginOptions options;
  options.path = path;
  options.read_only = true;
  options.direct = true;
  options.lock = false;
  return open_file_origin(options, origin);
}

}  // namespace

// The watch comes first: what the origin says of the device holds from then on.
Status open_bpf_tap(const std::string& path, const std::string& map, uint32_t block_size,
                    std::shared_ptr<Tap>* tap) {
  std::unique_ptr<Origin> origin;
  std::unique_ptr<WriteWatch> watch;
  std::shared_ptr<Tracking> kept;
  uint64_t token = map.empty() ? 0 : MapFile::watch_of(map);
  Status status =
      map.empty() ? open_bpf_watch(path, &watch) : open_kept_bpf_watch(path, &token, &watch);
  if (status.ok()) status = open_device(path, &origin);
  if (status.ok() && !map.empty()) {
    status = Tracking::open(map, *origin, block_size, &kept, token);
  }
  if (status.ok()) *tap = std::make_shared<Tap>(std::move(origin), kept, std::move(watch));
  return status;
}

Status open_dm_tap(const std::string& path, const std::string& metadata, bool delays,
                   std::shared_ptr<Tap>* tap) {
  std::unique_ptr<Origin> origin;
  std::unique_ptr<WriteWatch> watch;
  std::string below;
  Status status = open_dm_watch(path, metadata, delays, &watch, &below);
  if (status.ok()) status = open_device(below, &origin);
  if (status.ok()) {
    *tap = std::make_shared<Tap>(std::move(origin), nullptr, std::move(watch));
  }
  return status;
}

}  // namespace blockferry
