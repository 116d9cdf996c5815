// A helper process that stands by while a device may be suspended: if this process dies, or stands
// still for long, it lets the device's I/O go on; or, once the destination may own the disk, it makes
// it fail. Writes that are delayed are so no longer when this process has died. It ends when this
// process does.
//
// A process of its own, because nothing else acts after SIGKILL; a program of its own, because it has
// to work while the device is suspended, whatever lies there: it is locked in memory, and starts
// nothing.
#pragma once

#include <memory>
#include <mutex>

#include "base/file_descriptor.h"
#include "base/status.h"
#include "tap/dm/device.h"

namespace blockferry {

// What is said between the two, a byte each: `ready` by the helper, once; all others to it.
enum class DmWord : char {
  ready = 'y',
  arm = 'a',
  disarm = 'd',
  alive = 'l',
  fence_at_death = 'f',
  resume_at_death = 'r',
  lift_delay_at_death = 's',
  keep_delay_at_death = 'n',
  end = 'q',
};

class DmWatchdog {
 public:
  // Beside the addon, where the build puts it.
  static constexpr const char* kProgram = "blockferry-watchdog";
  // So long it waits for a sign of life while the device is suspended.
  static constexpr int kLimitMs = 10'000;

  // Is there when this returns.
  static Status start(const DmDevice& device, std::unique_ptr<DmWatchdog>* watchdog);
  // All is well: it ends and does nothing.
  ~DmWatchdog();

  // The device is about to be suspended: not if this fails. Starts another helper when somebody has
  // ended the one before.
  Status arm();
  // It is not suspended any more.
  void disarm();
  void show_life();
  // What is done when this process dies: resume the device (at first), or make its I/O fail. Then
  // it also stays suspended, however long this process stands still.
  Status fence_at_death(bool on);
  // When this process dies the delay of the device's writes is lifted.
  Status lift_delay_at_death(bool on);
  // It does now what it would do at this process's death.
  void leave_it_to_helper();

 private:
  Status start_helper();
  void end_helper();
  Status tell(DmWord word);

  DmDevice device_;
  std::mutex mutex_;  // all below
  FileDescriptor socket_;
  int process_ = -1;
  bool fences_ = false, lifts_ = false;
};

// The helper's own part: reads what it is told from `socket` until the other side is gone.
void stand_by(const DmDevice& device, int socket);

}  // namespace blockferry
