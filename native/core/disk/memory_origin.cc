// Origins that hold no file: memory (tests, embedding) and null (an engine's ceiling).
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "disk/origin.h"

namespace blockferry {

namespace {

class MemoryOrigin : public SizedOrigin {
 public:
  explicit MemoryOrigin(uint64_t size) : SizedOrigin(size) {
    void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    bytes_ = static_cast<uint8_t*>(memory);
  }
  ~MemoryOrigin() override { munmap(bytes_, capacity()); }

  uint32_t alignment() const override { return 1; }
  bool read_only() const override { return false; }
  bool blank() const override { return !written_; }
  const std::string& name() const override { return name_; }
  int descriptor() const override { return -1; }

  Status read(void* buffer, uint64_t offset, uint64_t length) override {
    memcpy(buffer, bytes_ + offset, length);
    return {};
  }
  Status write(const void* buffer, uint64_t offset, uint64_t length, bool) override {
    written_ = true;
    memcpy(bytes_ + offset, buffer, length);
    return {};
  }
  Status write_zeroes(uint64_t offset, uint64_t length, ZeroMode, bool) override {
    memset(bytes_ + offset, 0, length);
    return {};
  }
  Status discard(uint64_t offset, uint64_t length) override {
    return write_zeroes(offset, length, ZeroMode::may_trim, false);
  }
  Status flush() override { return {}; }
  Status extent_at(uint64_t, uint64_t length, OriginExtent* extent) override {
    *extent = {length, false};
    return {};
  }
  Status hole_at(uint64_t, uint64_t, uint64_t* hole) override {
    *hole = 0;
    return {};
  }
  Status reread(void* buffer, uint64_t offset, uint64_t length) override {
    return read(buffer, offset, length);
  }
  Status prefetch(uint64_t, uint64_t) override { return {}; }
  bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) override {
    memcpy(buffer, bytes_ + offset, length);
    return true;
  }

 private:
  uint8_t* bytes_;
  std::atomic<bool> written_{false};
  std::string name_ = "memory";
};

class NullOrigin : public SizedOrigin {
 public:
  explicit NullOrigin(uint64_t size) : SizedOrigin(size) {}
  uint32_t alignment() const override { return 1; }
  bool read_only() const override { return false; }
  bool blank() const override { return true; }
  const std::string& name() const override { return name_; }
  int descriptor() const override { return -1; }

  Status read(void* buffer, uint64_t, uint64_t length) override {
    memset(buffer, 0, length);
    return {};
  }
  Status write(const void*, uint64_t, uint64_t, bool) override { return {}; }
  Status write_zeroes(uint64_t, uint64_t, ZeroMode, bool) override { return {}; }
  Status discard(uint64_t, uint64_t) override { return {}; }
  Status flush() override { return {}; }
  Status extent_at(uint64_t, uint64_t length, OriginExtent* extent) override {
    *extent = {length, true};
    return {};
  }
  Status hole_at(uint64_t, uint64_t length, uint64_t* hole) override {
    *hole = length;
    return {};
  }
  Status reread(void* buffer, uint64_t offset, uint64_t length) override {
    return read(buffer, offset, length);
  }
  Status prefetch(uint64_t, uint64_t) override { return {}; }
  bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) override {
    return read(buffer, offset, length).ok();
  }

 private:
  std::string name_ = "null";
};

}  // namespace

std::unique_ptr<Origin> make_memory_origin(uint64_t size) {
  return std::make_unique<MemoryOrigin>(size);
}

std::unique_ptr<Origin> make_null_origin(uint64_t size) {
  return std::make_unique<NullOrigin>(size);
}

}  // namespace blockferry
