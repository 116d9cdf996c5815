// An origin in memory that can be told to misbehave: to need alignment, to fail, to take for ever.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <vector>

#include "disk/origin.h"

namespace blockferry {

class TestOrigin : public Origin {
 public:
  explicit TestOrigin(uint64_t size, uint32_t alignment = 1)
      : bytes_(size), alignment_(alignment) {}

  // Every further write, flush and cold read waits until release().
  void block() {
    std::lock_guard lock(mutex_);
    blocked_ = true;
  }
  void release() {
    std::lock_guard lock(mutex_);
    blocked_ = false;
    changed_.notify_all();
  }
  // Waits until so many calls wait in here.
  void wait_blocked(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ == count; });
  }
  // What the next calls answer.
  void fail_with(Status status) {
    std::lock_guard lock(mutex_);
    failure_ = std::move(status);
  }
  // Reads must wait for the device.
  void set_cold(bool cold) {
    std::lock_guard lock(mutex_);
    cold_ = cold;
  }
  std::vector<uint8_t> content() {
    std::lock_guard lock(mutex_);
    return bytes_;
  }
  int flushes() {
    std::lock_guard lock(mutex_);
    return flushes_;
  }

  uint64_t size() const override { return bytes_.size(); }
  uint32_t alignment() const override { return alignment_; }
  bool read_only() const override { return false; }
  bool blank() const override { return true; }
  const std::string& name() const override { return name_; }
  int descriptor() const override { return -1; }

  Status read(void* buffer, uint64_t offset, uint64_t length) override {
    std::unique_lock lock(mutex_);
    wait(lock);
    if (failure_.ok()) memcpy(buffer, &bytes_[offset], length);
    return failure_;
  }
  Status write(const void* buffer, uint64_t offset, uint64_t length, bool durable) override {
    std::unique_lock lock(mutex_);
    wait(lock);
    if (failure_.ok()) memcpy(&bytes_[offset], buffer, length);
    if (durable) flushes_++;
    return failure_;
  }
  Status write_zeroes(uint64_t offset, uint64_t length, ZeroMode, bool fast_only) override {
    std::unique_lock lock(mutex_);
    wait(lock);
    if (fast_only) return Status::failure(Code::unsupported, "zero quickly");
    if (failure_.ok()) memset(&bytes_[offset], 0, length);
    return failure_;
  }
  Status discard(uint64_t, uint64_t) override { return {}; }
  Status flush() override {
    std::unique_lock lock(mutex_);
    wait(lock);
    flushes_++;
    return failure_;
  }
  // The first half is data, the second a hole.
  Status extent_at(uint64_t offset, uint64_t length, OriginExtent* extent) override {
    uint64_t half = bytes_.size() / 2;
    *extent = offset < half ? OriginExtent{std::min(length, half - offset), false}
                            : OriginExtent{length, true};
    return {};
  }
  Status hole_at(uint64_t offset, uint64_t length, uint64_t* hole) override {
    *hole = offset < bytes_.size() / 2 ? 0 : length;
    return {};
  }
  Status reread(void* buffer, uint64_t offset, uint64_t length) override {
    return read(buffer, offset, length);
  }
  Status prefetch(uint64_t, uint64_t) override { return {}; }
  bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) override {
    std::lock_guard lock(mutex_);
    if (cold_ || blocked_ || !failure_.ok()) return false;
    memcpy(buffer, &bytes_[offset], length);
    return true;
  }

 private:
  void wait(std::unique_lock<std::mutex>& lock) {
    waiting_++;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !blocked_; });
    waiting_--;
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint8_t> bytes_;
  uint32_t alignment_;
  std::string name_ = "test";
  Status failure_;
  bool blocked_ = false;
  bool cold_ = false;
  int waiting_ = 0;
  int flushes_ = 0;
};

}  // namespace blockferry
