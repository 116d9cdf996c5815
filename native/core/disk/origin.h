// An origin: what really holds a disk's data. One backend per file: file_origin (regular files
// and block devices), memory_origin, null_origin.
//
// Every method may be called from any thread at any time until the origin is destroyed, blocks
// until it is done, and either does the whole range or fails: there are no short results. Ranges
// lie inside [0, size()) and, when alignment() is not 1, start and end on its multiples, with
// `buffer` aligned to it too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace blockferry {

// How a range reads: `data` may still be zeroes, `hole` reads as zeroes and takes no space.
struct OriginExtent {
  uint64_t length = 0;
  bool hole = false;
};

enum class ZeroMode {
  may_trim,    // zeroes, and the space may be given back
  keep_space,  // zeroes, the space stays allocated (NBD_CMD_FLAG_NO_HOLE)
};

class Origin {
 public:
  virtual ~Origin() = default;

  // Of the disk: what lies behind it in the origin is not the disk's, and is neither read nor written.
  virtual uint64_t size() const = 0;
  // What there is room for: storage comes in larger units than disks.
  virtual uint64_t capacity() const { return size(); }
  // Only while nothing is read or written. Code::too_small, Code::bad_size (no positive multiple of 512).
  virtual Status set_size(uint64_t size);
  // 1, or with direct I/O the logical block size, where that divides the disk's size: else 512.
  virtual uint32_t alignment() const = 0;
  virtual bool read_only() const = 0;
  // There is not a byte of data in it now: everything reads as zeroes. False when that can't be
  // told.
  virtual bool blank() const = 0;
  // Its file was made when it was opened.
  virtual bool created() const { return false; }
  // Where the data is, for messages.
  virtual const std::string& name() const = 0;
  // Of what is open, or -1.
  virtual int descriptor() const = 0;
  // The same, where io_uring may read and write it at plain offsets, else -1.
  virtual int ring_descriptor() const { return descriptor(); }

  // Bytes past the end of a file that was cut short are Code::short_read, never zeroes.
  virtual Status read(void* buffer, uint64_t offset, uint64_t length) = 0;
  // With `durable`, the data is on stable storage when this returns (FUA).
  virtual Status write(const void* buffer, uint64_t offset, uint64_t length, bool durable) = 0;
  // The range reads as zeroes afterwards. With `fast_only`, Code::unsupported when that would
  // take as long as writing them (NBD_CMD_FLAG_FAST_ZERO).
  virtual Status write_zeroes(uint64_t offset, uint64_t length, ZeroMode mode, bool fast_only) = 0;
  // Takes all the space that the disk can need, now, or nothing: Code::no_space, Code::unsupported. A block
  // device has what it has. A receiver gives nothing of it back; its guest may, by discards.
  virtual Status allocate() { return Status::failure(Code::unsupported, "allocate " + name()); }
  // All of its space is taken: by allocate(), or it was found so.
  virtual bool allocated() const { return false; }
  // A hint: the range need not be kept. Ok, and nothing done, where it can't be taken.
  virtual Status discard(uint64_t offset, uint64_t length) = 0;
  // Everything that was written when this was called is on stable storage when it returns. Where a
  // page can be gone after one failure (durability.h), every later flush fails too.
  virtual Status flush() = 0;
  // What lies at `offset`: the first extent there, at most `length` long, at least 1 byte. Finding
  // the end of data can be slow (tmpfs looks at every page).
  virtual Status extent_at(uint64_t offset, uint64_t length, OriginExtent* extent) = 0;
  // How much of the range, from its start on, is a hole: 0 when it begins with data or when that
  // can't be told, or is not to be relied on: what is said here is taken for zeroes unread. Quick.
  virtual Status hole_at(uint64_t offset, uint64_t length, uint64_t* hole) = 0;
  // Like read(), but past the page cache where the kernel allows it: what the device holds.
  virtual Status reread(void* buffer, uint64_t offset, uint64_t length) = 0;
  // Asks for the range to be in the page cache soon.
  virtual Status prefetch(uint64_t offset, uint64_t length) = 0;
  // Reads only what needs no waiting for a device; false when it would have to wait (or can't
  // tell), and then nothing is promised about the buffer.
  virtual bool read_without_waiting(void* buffer, uint64_t offset, uint64_t length) = 0;
};

// One whose disk may end before what it has room for.
class SizedOrigin : public Origin {
 public:
  uint64_t size() const override { return size_.load(); }
  uint64_t capacity() const override { return capacity_; }
  Status set_size(uint64_t size) override;

 protected:
  explicit SizedOrigin(uint64_t capacity = 0) { measured(capacity); }
  void measured(uint64_t capacity) {
    capacity_ = capacity;
    size_.store(capacity);
  }

 private:
  uint64_t capacity_ = 0;
  std::atomic<uint64_t> size_{0};
};

// Whether a file's holes, as its file system tells them (SEEK_DATA), are taken for zeroes unread.
enum class Holes {
  automatic,  // where the file system is known to tell them exactly (exact_holes.h)
  trust,
  read,  // they aren't: all is data
};

struct FileOriginOptions {
  std::string path;
  bool read_only = false;
  // O_DIRECT: no page cache, and requests must be aligned.
  bool direct = false;
  // Create a missing regular file with this size; 0 creates nothing.
  uint64_t create_size = 0;
  // Hold it against other writers (an OFD lock on a file, O_EXCL on a device). Code::busy when somebody
  // holds it, or is known to have it open for writing.
  bool lock = true;
  // Take it all the same, and hold what can be held.
  bool force = false;
  Holes holes = Holes::automatic;
};

Status open_file_origin(const FileOriginOptions& options, std::unique_ptr<Origin>* origin);
// In memory, zeroed, lazily backed.
std::unique_ptr<Origin> make_memory_origin(uint64_t size);
// Reads zeroes and forgets writes: shows an engine's ceiling.
std::unique_ptr<Origin> make_null_origin(uint64_t size);

}  // namespace blockferry
