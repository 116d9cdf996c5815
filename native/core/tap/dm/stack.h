// dm-era under a live device of device-mapper, and out again.
//
//   before   device ─[its table]─→ what it is made of
//   during   device ─[era]─→ inner ─[its table]─→ what it is made of
//   fenced   device ─[error]      inner ─[its table]─→ what it is made of
//   moved    the same, and the inner device is called `-blockferry-moved`
//
// Where the tap is to slow the writers itself, dm-delay is in front, and dm-era on a device of its own:
//
//   during   device ─[delay]─→ era device ─[era]─→ inner ─[its table]─→ what it is made of
//
// So a checkpoint, which suspends the device with dm-era, does not wait for the writes that are delayed.
//
// While the disk may become another's the device is suspended, with the error table loaded already:
// whoever finds it so does not give it back, and if it is resumed it is fenced.
//
// The inner device is called like the device with `-blockferry` behind, and its uuid says what it is
// and whose: `BLOCKFERRY-` and the device's own uuid, or its name where it has none. By that a later
// process finds what a killed one has left, and in the inner device the table that belongs back.
//
// Each swap of a table is one ioctl that suspends, swaps and resumes. Wherever the process dies the
// device has one of the tables above, and all of them but the fence work.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "tap/dm/device.h"
#include "tap/dm/store.h"
#include "tap/dm/watchdog.h"

namespace blockferry {

// dm-era's blocks: the smallest that it takes.
inline constexpr uint64_t kEraSectors = 64;
inline constexpr uint64_t kEraBlock = kEraSectors * 512;

class DmStack {
 public:
  // `metadata`: a place for EraStore. With `delays` set_delay() can be had. What a dead process has
  // left of a stack is taken out before.
  static Status insert(const DmDevice& device, const std::string& metadata, bool delays,
                       DmWatchdog& watchdog, std::unique_ptr<DmStack>* stack);

  const DmDevice& device() const { return device_; }
  const DmDevice& inner() const { return inner_; }
  // What has dm-era, and who stands by while it is suspended: the device itself without dm-delay.
  const DmDevice& era_device() const { return delays_ ? era_ : device_; }
  DmWatchdog& era_watchdog() { return delays_ ? *era_watchdog_ : watchdog_; }
  bool delays() const { return delays_; }
  const EraStore& store() const { return *store_; }
  uint64_t sectors() const { return sectors_; }

  // Of each write that comes from here on; those that are delayed now go on at once.
  Status set_delay(unsigned ms);
  // The live table is still the one of insert(): Code::table_changed if somebody has put in another.
  Status check() const;
  // Puts the device's own table back and frees the metadata; the inner device stays, and can be
  // read. If the table is not ours any more it stays as it is. A suspended device goes on.
  Status detach();
  // With metadata that is fresh, after detach().
  Status attach_again(const std::string& metadata);
  // Of a device that is suspended: whatever resumes it fences it; until withdraw_fence().
  Status prepare_fence();
  Status withdraw_fence();
  // From here on the device's I/O fails.
  Status fence();
  // Of a fenced device whose disk is known to be another side's: a migration back may unfence it.
  Status mark_moved();
  // The last step, when nobody has the inner device open. Not after fence(): it has the table that
  // belongs back.
  Status remove_inner();

 private:
  DmStack(const DmDevice& device, bool delays, DmWatchdog& watchdog)
      : device_(device), delays_(delays), watchdog_(watchdog) {}
  Status attach(const std::string& metadata);
  Status create_era_device();
  Status remove_era_device();
  Status swap(const DmTable& table);
  DmTable era_table() const;
  DmTable table() const;  // of the device

  DmDevice device_, inner_, era_;
  const bool delays_;
  unsigned delay_ms_ = 0;
  DmWatchdog& watchdog_;
  std::unique_ptr<DmWatchdog> era_watchdog_;
  std::unique_ptr<EraStore> store_;
  uint64_t sectors_ = 0;
};

// What there is of stacks on this host.
struct DmLeft {
  enum class State {
    tapped,  // the device works through dm-era
    fenced,  // its I/O fails, or waits: the destination owns the disk, or nobody knows
    beside,  // it has its own table, or another tool's
    alone,   // it is gone
  };
  State state = State::alone;
  std::string device;  // its name, or what the inner device calls it
  std::string inner;
  std::string number;  // of the device, "253:0"; empty when it is gone
  bool suspended = false;
  bool live = false;   // a running process holds it
  bool moved = false;  // fenced, and its disk is known to be another side's
};
Status list_dm_stacks(std::vector<DmLeft>* stacks);
// Takes out what a dead process has left at this device (a path or a name). Nothing there is fine.
// Code::busy when its process lives; Code::refused when it is fenced and `owned` does not say that
// the disk is owned here.
Status clean_dm_stack(const std::string& device, bool owned, bool* found);

}  // namespace blockferry
