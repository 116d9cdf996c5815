#include "tap/dm/stack.h"

#include <utility>

#include "tap/dm/check.h"
#include "tap/dm/delay.h"
#include "tap/dm/left.h"
#include "tap/dm/settings.h"

namespace blockferry {

namespace {

constexpr size_t kMaxName = 127;  // of device-mapper; moved_name() is the longest

// The array of eras twice, as a changed copy is made beside it, sets of bits, and some for the trees:
// never so full that dm-era gets no space.
uint64_t metadata_bytes(uint64_t sectors) {
  uint64_t blocks = (sectors + kEraSectors - 1) / kEraSectors;
  return (16ull << 20) + (12 * blocks + 4095) / 4096 * 4096;
}

}  // namespace

DmTable DmStack::era_table() const {
  std::string params = store_->number() + " " + inner_.number() + " " + std::to_string(kEraSectors);
  return {{0, sectors_, "era", params}};
}

DmTable DmStack::table() const {
  return delays_ ? delay_table(sectors_, era_, delay_ms_) : era_table();
}

Status DmStack::insert(const DmDevice& device, const std::string& metadata, bool delays,
                       DmWatchdog& watchdog, std::unique_ptr<DmStack>* stack) {
  DmInfo info, left;
  Status status = device.info(&info);
  if (!status.ok()) return status;
  status = find_inner(info, &left);
  if (status.ok()) status = take_out(info, left, false);
  if (status.ok() || status.code == Code::not_found) status = check_dm_table(info.name, device);
  if (!status.ok()) return status;
  if (moved_name(info).size() > kMaxName) {
    return Status::failure(Code::unsupported, "the name of " + info.name + " is too long");
  }
  std::unique_ptr<DmStack> inserted(new DmStack(device, delays, watchdog));
  DmTable table;
  status = device.table(&table);
  inserted->sectors_ = sectors_of(table);
  if (status.ok()) {
    status = DmDevice::create(inner_name(info), inner_uuid(info), table, &inserted->inner_);
  }
  wipe(&table);
  if (!status.ok()) return status;
  copy_settings(device, inserted->inner_);
  status = inserted->attach(metadata);
  if (status.ok()) {
    *stack = std::move(inserted);
  } else {
    (void)remove_soon(inserted->inner_);
  }
  return status;
}

Status DmStack::attach(const std::string& metadata) {
  Status status = EraStore::open(metadata, metadata_bytes(sectors_), &store_);
  if (status.ok() && delays_) status = create_era_device();
  if (!status.ok()) return status;
  delay_ms_ = 0;
  status = swap(table());
  if (!status.ok()) (void)remove_era_device();
  return status;
}

Status DmStack::create_era_device() {
  DmInfo info;
  Status status = device_.info(&info);
  // As a line of its inner device first: of what is wrong with a table load() says more.
  DmTable line = {{0, sectors_, "linear", inner_.number() + " 0"}};
  if (status.ok()) status = DmDevice::create(era_name(info), era_uuid(info), line, &era_);
  if (!status.ok()) return status;
  status = era_.load(era_table());
  if (status.ok()) status = era_.resume();
  if (status.ok()) status = DmWatchdog::start(era_, &era_watchdog_);
  if (!status.ok()) (void)remove_era_device();
  return status;
}

Status DmStack::remove_era_device() {
  era_watchdog_.reset();
  Status status = delays_ ? remove_soon(era_) : Status{};
  return status.code == Code::not_found ? Status{} : status;
}

Status DmStack::set_delay(unsigned ms) {
  if (ms == delay_ms_) return {};
  if (!delays_) return Status::failure(Code::unsupported, "the stack was made without dm-delay");
  Status status = check();
  if (status.ok() && ms > 0) status = watchdog_.lift_delay_at_death(true);
  if (!status.ok()) return status;
  unsigned before = std::exchange(delay_ms_, ms);
  status = swap(table());
  if (!status.ok()) delay_ms_ = before;
  if (delay_ms_ == 0) (void)watchdog_.lift_delay_at_death(false);
  return status;
}

Status DmStack::attach_again(const std::string& metadata) {
  // Somebody may have changed the table since.
  DmTable own, live;
  Status status = inner_.table(&own);
  if (status.ok()) status = device_.table(&live);
  bool same = own == live;
  wipe(&own);
  wipe(&live);
  if (status.ok() && !same) {
    status = Status::failure(Code::table_changed, "another tool has changed " + device_.number());
  }
  return status.ok() ? attach(metadata) : status;
}

// A swap that fails may leave the device suspended, with its old table.
Status DmStack::swap(const DmTable& table) {
  Status status = device_.load(table);
  if (status.ok()) status = watchdog_.arm();
  if (!status.ok()) return status;
  status = device_.resume();
  if (!status.ok()) {
    DmInfo info;
    (void)device_.clear();
    if (device_.info(&info).ok() && info.suspended) (void)device_.resume();
  }
  watchdog_.disarm();
  copy_settings(inner_, device_);
  return status;
}

Status DmStack::check() const {
  DmTable table;
  Status status = device_.table(&table);
  bool ours = table == this->table();
  wipe(&table);
  if (!status.ok() && status.code != Code::not_found) return status;
  if (status.ok() && ours) return {};
  return Status::failure(
      Code::table_changed,
      "another tool has changed the table of " + device_.number() +
          " under the tap (a resize, a refresh): what was written since is not known. "
          "The disk works on as that tool has left it: begin again");
}

Status DmStack::detach() {
  Status status = check();
  DmInfo info;
  if (status.ok()) {
    DmTable table;
    status = inner_.table(&table);
    if (status.ok()) status = swap(table);
    wipe(&table);
  }
  if (device_.info(&info).ok() && info.suspended && status.code != Code::table_changed) {
    (void)device_.resume();
  }
  if (!status.ok() && status.code != Code::table_changed) return status;
  (void)watchdog_.lift_delay_at_death(false);
  (void)remove_era_device();
  store_.reset();
  return status;
}

Status DmStack::prepare_fence() { return device_.load(error_table(sectors_)); }
Status DmStack::withdraw_fence() { return device_.clear(); }

// If it fails the device stays as it is: suspended, if it was.
Status DmStack::fence() {
  Status status = device_.load(error_table(sectors_));
  if (status.ok()) status = watchdog_.arm();
  if (status.ok()) status = device_.resume();
  if (!status.ok()) return status;
  (void)remove_era_device();
  store_.reset();
  return status;
}

Status DmStack::mark_moved() {
  DmInfo info;
  Status status = device_.info(&info);
  return status.ok() ? inner_.rename(moved_name(info)) : status;
}

// Code::busy when a table that somebody has put in uses it.
Status DmStack::remove_inner() { return remove_soon(inner_); }

}  // namespace blockferry
