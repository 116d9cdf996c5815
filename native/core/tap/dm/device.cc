#include "tap/dm/device.h"

#ifdef BLOCKFERRY_HAVE_DM

#include <libdevmapper.h>
#include <string.h>

#include <cstdarg>
#include <fstream>
#include <memory>
#include <mutex>

#endif

namespace blockferry {

uint64_t sectors_of(const DmTable& table) {
  return table.empty() ? 0 : table.back().start + table.back().length;
}

#ifdef BLOCKFERRY_HAVE_DM

void wipe(DmTable* table) {
  for (DmTarget& target : *table) explicit_bzero(target.params.data(), target.params.size());
  table->clear();
}

namespace {

struct TaskEnd {
  void operator()(dm_task* task) const { dm_task_destroy(task); }
};
using Task = std::unique_ptr<dm_task, TaskEnd>;

std::mutex library;

// Errors come as a Status; the library would print them.
void be_quiet(int, const char*, int, int, const char*, ...) {}

// Called with `library` locked.
Task make_task(int type) {
  static bool prepared = false;
  if (!prepared) {
    dm_log_with_errno_init(be_quiet);
    // Never wait for udev while a device may be suspended; nodes are made where it makes none.
    dm_udev_set_sync_support(0);
    dm_hold_control_dev(1);
    prepared = true;
  }
  return Task(dm_task_create(type));
}

Status run(const Task& task, const std::string& what) {
  for (int tries = 0; task && tries < 100; tries++) {
    if (dm_task_run(task.get())) {
      dm_task_update_nodes();
      return {};
    }
    if (dm_task_get_errno(task.get()) != EINTR) break;  // a suspend and a signal
  }
  int error = task ? dm_task_get_errno(task.get()) : ENOMEM;
  dm_task_update_nodes();
  // No errno: it did not come to an ioctl.
  if (error == 0) return Status::failure(Code::no_permission, what + ": /dev/mapper/control");
  return Status::from_errno(error, what);
}

// The library would make a node for a kernel without device-mapper, and be out of memory then. A kernel
// that has yet to load it has no devices.
Status check_kernel() {
  std::ifstream devices("/proc/misc");
  for (std::string line; std::getline(devices, line);) {
    if (line.ends_with(" device-mapper")) return {};
  }
  return Status::failure(Code::unsupported, "the kernel has no device-mapper");
}

// Of devices whose data is another's: no link by their label, no volume group found twice.
constexpr uint16_t kNoRules = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                              DM_UDEV_DISABLE_DISK_RULES_FLAG | DM_UDEV_DISABLE_OTHER_RULES_FLAG;

Task task_for(int type, unsigned major, unsigned minor) {
  Task task = make_task(type);
  bool named = task && dm_task_set_major_minor(task.get(), static_cast<int>(major),
                                               static_cast<int>(minor), 0);
  return named ? std::move(task) : nullptr;
}

bool add_targets(const Task& task, const DmTable& table) {
  if (!task || !dm_task_secure_data(task.get())) return false;
  for (const DmTarget& target : table) {
    if (!dm_task_add_target(task.get(), target.start, target.length, target.type.c_str(),
                            target.params.c_str())) {
      return false;
    }
  }
  return true;
}

// The kernel says no more than EINVAL, or ENOKEY for a key that was only there for a moment.
Status explained(Status status) {
  if (status.error == ENOKEY) {
    return Status::failure(Code::unsupported,
                           status.operation +
                               ": the key of dm-crypt is no longer in the keyring "
                               "(open the device with cryptsetup --disable-keyring)",
                           ENOKEY);
  }
  if (status.error == EINVAL) status.code = Code::unsupported;
  return status;
}

Status take_info(const Task& task, DmInfo* info) {
  dm_info found;
  if (!dm_task_get_info(task.get(), &found)) {
    return Status::failure(Code::io_error, "libdevmapper tells nothing of a device");
  }
  if (!found.exists) return Status::failure(Code::not_found, "no such device-mapper device", ENXIO);
  info->name = dm_task_get_name(task.get());
  info->uuid = dm_task_get_uuid(task.get());
  info->major = found.major;
  info->minor = static_cast<unsigned>(found.minor);
  info->suspended = found.suspended != 0;
  info->has_table = found.live_table != 0;
  info->has_loaded = found.inactive_table != 0;
  info->open_count = found.open_count;
  return {};
}

void take_targets(const Task& task, DmTable* table) {
  void* next = nullptr;
  table->clear();
  do {
    uint64_t start = 0, length = 0;
    char* type = nullptr;
    char* params = nullptr;
    next = dm_get_next_target(task.get(), next, &start, &length, &type, &params);
    if (type) table->push_back({start, length, type, params ? params : ""});
  } while (next);
}

}  // namespace

Status DmDevice::create(const std::string& name, const std::string& uuid, const DmTable& table,
                        DmDevice* device) {
  std::lock_guard lock(library);
  Task task = make_task(DM_DEVICE_CREATE);
  uint32_t cookie = 0;
  bool made = task && dm_task_set_name(task.get(), name.c_str()) &&
              dm_task_set_uuid(task.get(), uuid.c_str()) && add_targets(task, table) &&
              dm_task_set_cookie(task.get(), &cookie, kNoRules);
  if (!made) return Status::failure(Code::unsupported, "no device can be called " + name);
  Status status = explained(run(task, "create " + name));
  DmInfo info;
  if (status.ok()) status = take_info(task, &info);
  if (status.ok()) *device = DmDevice(info.major, info.minor);
  return status;
}

Status DmDevice::list(std::vector<DmInfo>* devices) {
  std::lock_guard lock(library);
  devices->clear();
  Status there = check_kernel();
  if (!there.ok()) return there;
  Task task = make_task(DM_DEVICE_LIST);
  Status status = run(task, "list the devices of device-mapper");
  if (!status.ok()) return status;
  dm_names* names = dm_task_get_names(task.get());
  if (!names || names->dev == 0) return {};
  for (uint32_t next = 1; next != 0;) {
    Task asked = make_task(DM_DEVICE_INFO);
    DmInfo info;
    bool told = asked && dm_task_set_name(asked.get(), names->name) &&
                run(asked, "ask for a device").ok() && take_info(asked, &info).ok();
    if (told) devices->push_back(info);  // else it went meanwhile
    next = names->next;
    names = reinterpret_cast<dm_names*>(reinterpret_cast<char*>(names) + next);
  }
  return {};
}

Status DmDevice::targets(std::vector<std::string>* names) {
  std::lock_guard lock(library);
  names->clear();
  Status status = check_kernel();
  if (!status.ok()) return status;
  Task task = make_task(DM_DEVICE_LIST_VERSIONS);
  status = run(task, "list the targets of device-mapper");
  if (!status.ok()) return status;
  dm_versions* version = dm_task_get_versions(task.get());
  for (uint32_t next = version ? 1 : 0; next != 0;) {
    names->emplace_back(version->name);
    next = version->next;
    version = reinterpret_cast<dm_versions*>(reinterpret_cast<char*>(version) + next);
  }
  return {};
}

Status DmDevice::info(DmInfo* info) const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_INFO, major_, minor_);
  Status status = run(task, "ask for " + number());
  return status.ok() ? take_info(task, info) : status;
}

Status DmDevice::table(DmTable* table) const { return read_table(false, table); }
Status DmDevice::loaded_table(DmTable* table) const { return read_table(true, table); }

Status DmDevice::read_table(bool loaded, DmTable* table) const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_TABLE, major_, minor_);
  if (task) dm_task_secure_data(task.get());
  if (task && loaded) dm_task_query_inactive_table(task.get());
  Status status = run(task, "read the table of " + number());
  DmInfo info;
  if (status.ok()) status = take_info(task, &info);
  if (status.ok()) take_targets(task, table);
  return status;
}

Status DmDevice::target_status(std::string* line) const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_STATUS, major_, minor_);
  if (task) dm_task_no_flush(task.get());
  Status status = run(task, "read the status of " + number());
  DmTable targets;
  if (status.ok()) take_targets(task, &targets);
  if (status.ok()) *line = targets.size() == 1 ? targets[0].params : "";
  return status;
}

Status DmDevice::message(const std::string& text) const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_TARGET_MSG, major_, minor_);
  if (task) dm_task_set_sector(task.get(), 0);
  if (task) dm_task_set_message(task.get(), text.c_str());
  return run(task, "send '" + text + "' to " + number());
}

Status DmDevice::load(const DmTable& table) const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_RELOAD, major_, minor_);
  if (!add_targets(task, table)) return Status::failure(Code::no_memory, "make a table");
  return explained(run(task, "load a table into " + number()));
}

Status DmDevice::clear() const {
  std::lock_guard lock(library);
  return run(task_for(DM_DEVICE_CLEAR, major_, minor_), "forget the loaded table of " + number());
}

Status DmDevice::suspend(bool freeze) const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_SUSPEND, major_, minor_);
  if (task && !freeze) dm_task_skip_lockfs(task.get());
  return run(task, "suspend " + number());
}

Status DmDevice::resume() const {
  std::lock_guard lock(library);
  Task task = task_for(DM_DEVICE_RESUME, major_, minor_);
  if (task) dm_task_skip_lockfs(task.get());
  return run(task, "resume " + number());
}

// Some things are asked for by the name: the library sees to the device's node then.
Status DmDevice::remove() const {
  DmInfo info;
  Status status = this->info(&info);
  if (!status.ok()) return status;
  std::lock_guard lock(library);
  Task task = make_task(DM_DEVICE_REMOVE);
  if (task) dm_task_set_name(task.get(), info.name.c_str());
  return run(task, "remove " + info.name);
}

Status DmDevice::rename(const std::string& name) const {
  DmInfo info;
  Status status = this->info(&info);
  if (!status.ok()) return status;
  std::lock_guard lock(library);
  Task task = make_task(DM_DEVICE_RENAME);
  uint32_t cookie = 0;
  bool made = task && dm_task_set_name(task.get(), info.name.c_str()) &&
              dm_task_set_newname(task.get(), name.c_str()) &&
              dm_task_set_cookie(task.get(), &cookie, kNoRules);
  if (!made) return Status::failure(Code::unsupported, "no device can be called " + name);
  return run(task, "rename " + info.name);
}

#else

namespace {

Status none() {
  return Status::failure(Code::unsupported, "this build has no dm tap: libdevmapper was missing");
}

}  // namespace

void wipe(DmTable* table) { table->clear(); }
Status DmDevice::create(const std::string&, const std::string&, const DmTable&, DmDevice*) {
  return none();
}
Status DmDevice::list(std::vector<DmInfo>*) { return none(); }
Status DmDevice::targets(std::vector<std::string>*) { return none(); }
Status DmDevice::info(DmInfo*) const { return none(); }
Status DmDevice::table(DmTable*) const { return none(); }
Status DmDevice::loaded_table(DmTable*) const { return none(); }
Status DmDevice::target_status(std::string*) const { return none(); }
Status DmDevice::message(const std::string&) const { return none(); }
Status DmDevice::load(const DmTable&) const { return none(); }
Status DmDevice::clear() const { return none(); }
Status DmDevice::suspend(bool) const { return none(); }
Status DmDevice::resume() const { return none(); }
Status DmDevice::remove() const { return none(); }
Status DmDevice::rename(const std::string&) const { return none(); }

#endif

}  // namespace blockferry
