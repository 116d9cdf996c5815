#include "tap/dm/moved.h"

#include <chrono>
#include <memory>
#include <thread>

#include "disk/block_device.h"
#include "disk/device_claim.h"
#include "tap/dm/left.h"

namespace blockferry {

namespace {

// Who closed it a moment ago may not be gone: a backend of a machine that ends, udev.
constexpr int kOpenTries = 100;
constexpr std::chrono::milliseconds kOpenPause{20};

struct Fenced {
  DmInfo outer, inner;
  FileDescriptor claim;
};

// Code::not_found when there is no fence.
Status find_fenced(const std::string& path, Fenced* found) {
  std::unique_ptr<BlockDevice> block;
  Status status = BlockDevice::find(path, &block);
  if (!status.ok() || !block->mapped())
    return Status::failure(Code::not_found, path + " is not mapped");
  DmDevice device(block->disk_major(), block->disk_minor());
  status = device.info(&found->outer);
  if (status.ok()) status = find_inner(found->outer, &found->inner);
  DmLeft::State state = DmLeft::State::beside;
  if (status.ok()) status = find_state(found->outer, found->inner, &state);
  if (!status.ok() || state != DmLeft::State::fenced) {
    return Status::failure(Code::not_found, path + " is not fenced");
  }
  return claim_device(device.number(), path, &found->claim);
}

Status until_closed(const DmInfo& outer) {
  DmDevice device(outer.major, outer.minor);
  for (int tries = 0; tries < kOpenTries; tries++) {
    DmInfo now;
    Status status = device.info(&now);
    if (!status.ok() || now.open_count == 0) return status;
    std::this_thread::sleep_for(kOpenPause);
  }
  return Status::failure(Code::busy,
                         outer.name +
                             " is fenced since its disk has moved, and a program still has it "
                             "open, which would write there again: end it first");
}

}  // namespace

Status mark_moved(const std::string& path) {
  Fenced found;
  Status status = find_fenced(path, &found);
  if (status.code == Code::not_found) return {};
  if (!status.ok() || is_moved(found.inner)) return status;
  return DmDevice(found.inner.major, found.inner.minor).rename(moved_name(found.outer));
}

Status unfence_moved(const std::string& path) {
  Fenced found;
  Status status = find_fenced(path, &found);
  if (status.code == Code::not_found) return {};
  if (!status.ok()) return status;
  if (!is_moved(found.inner)) return fenced_device(found.outer.name);
  status = until_closed(found.outer);
  return status.ok() ? take_out(found.outer, found.inner, true) : status;
}

}  // namespace blockferry
