// A device of device-mapper, by libdevmapper. It is named by its number, which stays when somebody
// renames it. Without libdevmapper at build time everything here is Code::unsupported.
//
// libdevmapper keeps state of its own, so one thread is in it at a time: what suspends waits for
// I/O, and whoever comes after it waits, too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace blockferry {

struct DmTarget {
  uint64_t start = 0, length = 0;  // in sectors of 512 bytes
  std::string type, params;
  bool operator==(const DmTarget&) const = default;
};

using DmTable = std::vector<DmTarget>;

uint64_t sectors_of(const DmTable& table);
// It holds a key, perhaps.
void wipe(DmTable* table);

struct DmInfo {
  std::string name, uuid;
  unsigned major = 0, minor = 0;
  bool suspended = false;
  bool has_table = false;   // a live one
  bool has_loaded = false;  // one that the next resume() swaps in
  int open_count = 0;       // by programs, and by devices that are made of it
};

class DmDevice {
 public:
  DmDevice() = default;
  DmDevice(unsigned major, unsigned minor) : major_(major), minor_(minor) {}

  // A new one with this table, which no rule of udev looks into.
  static Status create(const std::string& name, const std::string& uuid, const DmTable& table,
                       DmDevice* device);
  static Status list(std::vector<DmInfo>* devices);
  // The names of the targets that the kernel has loaded.
  static Status targets(std::vector<std::string>* names);

  // "253:0", as tables name devices.
  std::string number() const { return std::to_string(major_) + ":" + std::to_string(minor_); }
  unsigned minor_number() const { return minor_; }

  // Code::not_found when there is no such device, as for all the others.
  Status info(DmInfo* info) const;
  Status table(DmTable* table) const;
  // The one that was loaded; empty when none was.
  Status loaded_table(DmTable* table) const;
  // What the only target of its table says of itself. Waits while the device is suspended.
  Status target_status(std::string* line) const;
  Status message(const std::string& text) const;  // so does this
  Status load(const DmTable& table) const;
  // Forgets what was loaded.
  Status clear() const;
  // Waits for the I/O in flight and holds what comes then. With `freeze` a mounted file system
  // writes everything out first.
  Status suspend(bool freeze) const;
  // Swaps in what was loaded, if anything was: the device is suspended for that if it is not, in
  // one step with no freeze. Then I/O goes on.
  Status resume() const;
  // Code::busy while somebody has it open.
  Status remove() const;
  // Who has it open goes on.
  Status rename(const std::string& name) const;

 private:
  Status read_table(bool loaded, DmTable* table) const;

  unsigned major_ = 0, minor_ = 0;
};

}  // namespace blockferry
