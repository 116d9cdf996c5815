#include "tap/dm/left.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "disk/device_claim.h"
#include "tap/dm/delay.h"
#include "tap/dm/settings.h"

namespace blockferry {

namespace {

// Of inner devices, and of those that have dm-era when dm-delay is in front of it.
constexpr const char* kPrefix = "BLOCKFERRY-";
constexpr const char* kEraPrefix = "BLOCKFERRYERA-";
constexpr const char* kSuffix = "-blockferry";
constexpr const char* kEraSuffix = "-blockferry-era";
constexpr const char* kMoved = "-blockferry-moved";
constexpr int kRemoveTries = 50;
constexpr std::chrono::milliseconds kRemovePause{20};

using State = DmLeft::State;

bool is_ours(const DmInfo& info) { return info.uuid.starts_with(kPrefix); }

DmDevice device_of(const DmInfo& info) { return DmDevice(info.major, info.minor); }

// As a whole word of a target's parameters.
bool names_device(const DmTable& table, const std::string& number) {
  return std::any_of(table.begin(), table.end(), [&](const DmTarget& target) {
    return (" " + target.params + " ").find(" " + number + " ") != std::string::npos;
  });
}

bool is_fence(const DmTable& table) { return table.size() == 1 && table[0].type == "error"; }

Status find_by_uuid(const std::string& uuid, DmInfo* found) {
  std::vector<DmInfo> devices;
  Status status = DmDevice::list(&devices);
  if (!status.ok()) return status;
  for (const DmInfo& info : devices) {
    if (info.uuid != uuid) continue;
    *found = info;
    return {};
  }
  return Status::failure(Code::not_found, "there is no device " + uuid);
}

// The one with dm-era that is made of this inner device.
Status find_era(const DmInfo& inner, DmInfo* era) {
  return find_by_uuid(kEraPrefix + inner.uuid.substr(std::string(kPrefix).size()), era);
}

bool is_era(const DmTable& table, const DmDevice& inner) {
  return table.size() == 1 && table[0].type == "era" && names_device(table, inner.number());
}

State state_of(const DmTable& table, const DmInfo& inner) {
  DmInfo era;
  if (is_fence(table)) return State::fenced;
  if (is_era(table, device_of(inner))) return State::tapped;
  bool delayed =
      is_delay(table) && find_era(inner, &era).ok() && names_device(table, device_of(era).number());
  return delayed ? State::tapped : State::beside;
}

// What is made of it first. A process that was killed may have left that suspended.
Status remove_inner(const DmInfo& inner) {
  DmInfo era;
  Status status = find_era(inner, &era);
  if (status.ok() && era.suspended) (void)device_of(era).resume();
  if (status.ok()) status = remove_soon(device_of(era));
  if (!status.ok() && status.code != Code::not_found) return status;
  return remove_soon(device_of(inner));
}

// The device whose inner device this is.
const DmInfo* outer_of(const DmInfo& inner, const std::vector<DmInfo>& devices) {
  auto outer = std::find_if(devices.begin(), devices.end(), [&](const DmInfo& device) {
    return !is_ours(device) && inner_uuid(device) == inner.uuid;
  });
  return outer == devices.end() ? nullptr : &*outer;
}

std::string outer_name(const std::string& inner) {
  size_t cut = inner.rfind(kSuffix);
  return cut == std::string::npos ? inner : inner.substr(0, cut);
}

// Its own table again, which the inner device has.
Status restore(const DmDevice& device, const DmDevice& inner, DmWatchdog& watchdog) {
  DmTable table;
  Status status = inner.table(&table);
  if (status.ok()) status = device.load(table);
  wipe(&table);
  if (status.ok()) status = watchdog.arm();
  if (status.ok()) status = device.resume();
  if (status.ok()) watchdog.disarm();
  if (status.ok()) copy_settings(inner, device);
  return status;
}

// A path, or a name.
bool is_called(const DmInfo& info, const std::string& device) {
  struct stat file;
  if (info.name == device) return true;
  return stat(device.c_str(), &file) == 0 && S_ISBLK(file.st_mode) &&
         major(file.st_rdev) == info.major && minor(file.st_rdev) == info.minor;
}

Status clean(const DmInfo& outer, const DmInfo& inner, bool owned) {
  FileDescriptor claim;
  Status status = claim_device(device_of(outer).number(), outer.name, &claim);
  return status.ok() ? take_out(outer, inner, owned) : status;
}

}  // namespace

std::string inner_name(const DmInfo& device) { return device.name + kSuffix; }

std::string moved_name(const DmInfo& device) { return device.name + kMoved; }

bool is_moved(const DmInfo& inner) { return inner.name.ends_with(kMoved); }

std::string inner_uuid(const DmInfo& device) {
  return kPrefix + (device.uuid.empty() ? "name-" + device.name : device.uuid);
}

std::string era_name(const DmInfo& device) { return device.name + kEraSuffix; }

std::string era_uuid(const DmInfo& device) {
  return kEraPrefix + (device.uuid.empty() ? "name-" + device.name : device.uuid);
}

Status fenced_device(const std::string& name) {
  return Status::failure(
      Code::refused,
      name +
          " is fenced: the destination of a migration owns its disk, or nobody "
          "knows. `blockferry recover --device` with the journal says who does, and gives "
          "it back, or lets a migration come back to it");
}

DmTable error_table(uint64_t sectors) { return {{0, sectors, "error", ""}}; }

Status find_inner(const DmInfo& device, DmInfo* inner) {
  return find_by_uuid(inner_uuid(device), inner);
}

Status find_state(const DmInfo& device, const DmInfo& inner, State* state) {
  DmTable live, loaded;
  Status status = device_of(device).table(&live);
  if (status.ok()) status = device_of(device).loaded_table(&loaded);
  *state = state_of(live, inner);
  if (*state == State::tapped && device.suspended && is_fence(loaded)) *state = State::fenced;
  wipe(&live);
  wipe(&loaded);
  return status;
}

Status remove_soon(const DmDevice& device) {
  Status status;
  for (int tries = 0; tries < kRemoveTries; tries++) {
    status = device.remove();
    if (status.code != Code::busy) break;
    std::this_thread::sleep_for(kRemovePause);
  }
  return status;
}

Status take_out(const DmInfo& outer, const DmInfo& left, bool owned) {
  DmDevice device = device_of(outer), inner = device_of(left);
  DmTable table;
  State state = State::beside;
  Status status = find_state(outer, left, &state);
  if (status.ok()) status = device.table(&table);
  if (!status.ok()) return status;
  bool uses_inner = names_device(table, inner.number());
  wipe(&table);
  if (state == State::fenced && !owned) return fenced_device(outer.name);
  std::unique_ptr<DmWatchdog> watchdog;
  status = DmWatchdog::start(device, &watchdog);
  if (!status.ok()) return status;
  if (state != State::beside) {
    // Of what was in its way when it was suspended, too.
    DmInfo era;
    if (find_era(left, &era).ok() && era.suspended) (void)device_of(era).resume();
    status = restore(device, inner, *watchdog);
  } else {
    // It died before a swap, or after the last one.
    if (outer.has_loaded) status = device.clear();
    if (status.ok() && outer.suspended) status = device.resume();
    if (uses_inner) return status;
  }
  return status.ok() ? remove_inner(left) : status;
}

Status list_dm_stacks(std::vector<DmLeft>* stacks) {
  stacks->clear();
  std::vector<DmInfo> devices;
  Status status = DmDevice::list(&devices);
  for (const DmInfo& inner : devices) {
    if (!is_ours(inner)) continue;
    DmLeft left;
    left.inner = inner.name;
    left.device = outer_name(inner.name);
    if (const DmInfo* outer = outer_of(inner, devices)) {
      FileDescriptor claim;
      (void)find_state(*outer, inner, &left.state);
      left.device = outer->name;
      left.number = device_of(*outer).number();
      left.suspended = outer->suspended;
      left.moved = left.state == State::fenced && is_moved(inner);
      left.live = claim_device(left.number, outer->name, &claim).code == Code::busy;
    }
    stacks->push_back(left);
  }
  return status;
}

Status clean_dm_stack(const std::string& device, bool owned, bool* found) {
  std::vector<DmInfo> devices;
  Status status = DmDevice::list(&devices);
  *found = false;
  for (const DmInfo& inner : devices) {
    if (!is_ours(inner) || !status.ok()) continue;
    const DmInfo* outer = outer_of(inner, devices);
    bool meant = outer ? is_called(*outer, device) || inner.name == device
                       : inner.name == device || outer_name(inner.name) == device;
    if (!meant) continue;
    *found = true;
    status = outer ? clean(*outer, inner, owned) : remove_inner(inner);
  }
  return status;
}

}  // namespace blockferry
