// The program of native/bpf/block_writes.bpf.c in the kernel, and the memory that it shares with
// us. When this goes, or the process does, nothing of it is left.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "../bpf/block_writes.h"
#include "status.h"

struct bpf_object;
struct bpf_link;

namespace blockferry {

// Words that the kernel changes, too.
class SharedWords {
 public:
  SharedWords() = default;
  ~SharedWords();
  SharedWords(const SharedWords&) = delete;
  SharedWords& operator=(const SharedWords&) = delete;
  Status map(int fd, uint64_t count);

  std::atomic<uint64_t>& operator[](uint64_t index) const { return words_[index]; }
  uint64_t size() const { return count_; }

 private:
  std::atomic<uint64_t>* words_ = nullptr;
  uint64_t count_ = 0;
};

// A write that has begun, and was not seen to complete.
struct Flight {
  uint64_t key;     // a slot's number, or a bio's address
  uint64_t blocks;  // packed, see block_writes.h
};

class BpfProgram {
 public:
  // `words` of marks; without slots it is for a disk that takes bios. Code::no_permission,
  // Code::unsupported, Code::no_memory.
  static Status load(const block_writes_target& target, uint64_t words, uint64_t slots,
                     std::unique_ptr<BpfProgram>* program);
  ~BpfProgram();
  // From here on it sees requests.
  Status attach();
  // Times that the kernel did not run it because it ran already.
  uint64_t misses() const;

  // Whoever is in flight before and after this is among them. What can't be read counts as untold.
  void flights(std::vector<Flight>* flights) const;
  // That one has landed.
  void forget(const Flight& flight);

  SharedWords marks, counters;

 private:
  bpf_object* object_ = nullptr;
  std::vector<const char*> names_;
  std::vector<bpf_link*> links_;
  SharedWords slots_;
  int bios_ = -1;
  uint64_t max_bios_ = 0;
};

}  // namespace blockferry
