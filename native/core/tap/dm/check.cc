#include "tap/dm/check.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>

#include "tap/dm/left.h"

namespace blockferry {

namespace {

// Those that can be there twice over the same data: they keep nothing of their own on it, or share
// what they keep (thin). A mirror, RAID, cache or snapshot would be written by two that don't know of
// each other.
constexpr const char* kTargets[] = {"linear", "striped", "crypt", "thin", "delay", "flakey"};

Status unsupported(const std::string& path, const std::string& why) {
  return Status::failure(Code::unsupported, "the dm tap can't be put under " + path + ": " + why);
}

bool has_line_with(const std::string& path, const std::string& text) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.find(text) != std::string::npos) return true;
  }
  return false;
}

// A target is loaded when it is asked for, from the kernel's modules. Where those can't be looked at
// it may be there.
bool has_target(const std::string& module, const std::vector<std::string>& loaded,
                const std::string& name) {
  if (std::find(loaded.begin(), loaded.end(), name) != loaded.end()) return true;
  utsname kernel;
  uname(&kernel);
  std::string folder = std::string("/lib/modules/") + kernel.release;
  if (access((folder + "/modules.dep").c_str(), R_OK) != 0) return true;
  return has_line_with(folder + "/modules.dep", "/" + module + ".ko") ||
         has_line_with(folder + "/modules.builtin", "/" + module + ".ko");
}

Status check_target(const std::string& path, const std::string& module, const std::string& target) {
  std::vector<std::string> targets;
  Status status = DmDevice::targets(&targets);
  if (status.ok() && !has_target(module, targets, target)) {
    return unsupported(path, "the kernel has no " + module);
  }
  return status;
}

Status check_kernel(const std::string& path) {
  // Before it is asked whether this is such a device: "no such device" would be of little help.
  if (access("/dev/mapper/control", R_OK | W_OK) != 0) {
    if (errno != EACCES && errno != EPERM) {
      return unsupported(path, "the kernel has no device-mapper (no /dev/mapper/control)");
    }
    return Status::failure(Code::no_permission, "the dm tap needs root", EACCES);
  }
  return check_target(path, "dm-era", "era");
}

// A device and all that is made of it.
class Users {
 public:
  explicit Users(const BlockDevice& device) : numbers_(device.with_users()) {}
  // It is one of them, or lies there.
  bool have(const std::string& path) const {
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return false;
    dev_t of = S_ISBLK(info.st_mode) ? info.st_rdev : info.st_dev;
    return have(major(of), minor(of));
  }
  bool have(unsigned major, unsigned minor) const {
    std::string number = std::to_string(major) + ":" + std::to_string(minor);
    return std::find(numbers_.begin(), numbers_.end(), number) != numbers_.end();
  }
  // Something that this process has in its memory: its program, a library, the addon.
  bool have_mapped() const {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      unsigned major = 0, minor = 0;
      if (sscanf(line.c_str(), "%*s %*s %*s %x:%x", &major, &minor) == 2 && have(major, minor))
        return true;
    }
    return false;
  }

 private:
  std::vector<std::string> numbers_;
};

// Suspended, it would stop this process, too, or what takes memory from it.
Status check_users(const BlockDevice& device) {
  Users users(device);
  if (users.have("/") || users.have("/usr") || users.have_mapped()) {
    return unsupported(device.path(), "blockferry itself runs from it");
  }
  if (users.have("/proc/self/fd/1") || users.have("/proc/self/fd/2")) {
    return unsupported(device.path(), "the output of this process goes there");
  }
  std::ifstream swaps("/proc/swaps");
  for (std::string path; swaps >> path; swaps.ignore(4096, '\n')) {
    if (users.have(path)) return unsupported(device.path(), "this host swaps to it");
  }
  return {};
}

// A dead tap's stack is taken out before, but for a fence.
Status check_left(const DmInfo& info, const DmInfo& inner) {
  DmLeft::State state = DmLeft::State::beside;
  Status status = find_state(info, inner, &state);
  if (!status.ok()) return status;
  return state == DmLeft::State::fenced ? fenced_device(info.name) : Status{};
}

}  // namespace

Status check_dm_device(const std::string& path, std::unique_ptr<BlockDevice>* block,
                       DmDevice* device) {
  Status status = BlockDevice::find(path, block);
  if (!status.ok()) return status;
  if (!(*block)->mapped()) {
    return unsupported(path, "it is no device of device-mapper (LVM, for one)");
  }
  if ((*block)->read_only()) {
    return Status::failure(Code::read_only, path + " is read-only: no tap is needed", EROFS);
  }
  status = check_kernel(path);
  if (status.ok()) status = check_users(**block);
  if (!status.ok()) return status;
  *device = DmDevice((*block)->disk_major(), (*block)->disk_minor());
  DmInfo info, inner;
  status = device->info(&info);
  if (!status.ok()) return status;
  return find_inner(info, &inner).ok() ? check_left(info, inner) : check_dm_table(path, *device);
}

Status check_dm_delay(const std::string& path) {
  std::unique_ptr<BlockDevice> block;
  DmDevice device;
  Status status = check_dm_device(path, &block, &device);
  return status.ok() ? check_target(path, "dm-delay", "delay") : status;
}

Status check_dm_metadata(const BlockDevice& device, const std::string& place) {
  if (place.empty() || !Users(device).have(place)) return {};
  return Status::failure(Code::invalid,
                         "metadata: " + place + " lies on " + device.path() + " itself");
}

Status check_dm_table(const std::string& path, const DmDevice& device) {
  DmInfo info;
  DmTable table;
  Status status = device.info(&info);
  if (status.ok()) status = device.table(&table);
  if (!status.ok()) return status;
  if (info.uuid.starts_with("BLOCKFERRY")) return unsupported(path, "it belongs to a tap itself");
  if (table.empty()) return unsupported(path, "it has no table");
  for (const DmTarget& target : table) {
    bool known = std::any_of(std::begin(kTargets), std::end(kTargets),
                             [&](const char* type) { return target.type == type; });
    if (!known) return unsupported(path, "it is made by '" + target.type + "'");
  }
  wipe(&table);
  return {};
}

}  // namespace blockferry
