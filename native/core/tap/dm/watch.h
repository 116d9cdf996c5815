// The watch by dm-era. A thread here makes a checkpoint now and then, and brings the blocks that were
// written since the one before into the dirty map (checkpoint.cc, which says why none is lost). For
// the switchover it holds the writers (hold.cc).
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/file_descriptor.h"
#include "disk/block_device.h"
#include "tap/dm/metadata.h"
#include "tap/dm/phase.h"
#include "tap/dm/stack.h"
#include "tap/dm/watchdog.h"
#include "tap/write_watch.h"

namespace blockferry {

class DmWatch : public WriteWatch {
 public:
  ~DmWatch() override;
  Status open(const std::string& path, const std::string& metadata, bool delays,
              std::string* below);
  void track(DirtyMap* map) override;
  Status drain(std::chrono::steady_clock::duration limit) override;
  void hold() override { wanted_ = true; }
  void open() override;
  void refuse() override;
  Status may_lose_disk() override;
  Status delay_writes(unsigned ms) override;
  Status check() const override;
  Status begin() override;
  WatchStats stats() const override;

 private:
  void run();
  Status checkpoint();
  Status while_drained(const std::function<Status()>& look);
  Status look_while_suspended(EraState* now);
  Status last_marks();
  void let_writes_pass();
  Status read_snapshot(uint64_t era);
  Status mark(const EraState& state, uint64_t era);
  Status check_space();
  Status begin_account();
  Status write_back() const;
  Status freeze();
  Status prepare_fence();
  void fence();
  void detach();
  void move_to(DmPhase next);
  DmPhase phase() const;
  Status fail(Status status);
  Status failure() const;

  std::string path_, metadata_;
  std::unique_ptr<BlockDevice> block_;
  std::unique_ptr<BlockDevice> era_block_;  // what has dm-era; dealt with under device_mutex_
  FileDescriptor claim_;
  std::unique_ptr<DmWatchdog> watchdog_;
  std::unique_ptr<DmStack> stack_;
  BlockDevice::Written before_;

  std::atomic<bool> wanted_{false};  // that writers are held: since hold(), until open()
  std::mutex device_mutex_;          // all below: one deals with the device at a time
  bool may_lose_ = false;
  uint64_t since_ = 0;
  uint64_t discards_ = 0;        // there were until the last checkpoint
  uint64_t discard_blocks_ = 1;  // one reaches so far behind the block where it begins
  uint64_t widen_ = 0;           // so many blocks behind each are marked, too
  std::chrono::steady_clock::duration hold_time_{};

  mutable std::mutex mutex_;  // all below; phase_ is written with both
  std::condition_variable changed_;
  DirtyMap* map_ = nullptr;
  uint64_t maps_ = 0;  // so many there were
  DmPhase phase_ = DmPhase::bare;
  bool stop_ = false;
  Status failure_;
  std::thread thread_;
};

}  // namespace blockferry
