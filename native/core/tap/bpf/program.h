// The program of program/block_writes.bpf.c in the kernel, and the memory that it shares with
// us. When this goes, or the process does, nothing of it is left, unless it is pinned.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/shared_words.h"
#include "base/status.h"
#include "tap/bpf/pins.h"
#include "tap/bpf/program/block_writes.h"

namespace blockferry {

// A write that has begun, and was not seen to complete.
struct Flight {
  uint64_t key;     // a slot's number, or a bio's address
  uint64_t blocks;  // packed, see program/block_writes.h
};

class BpfProgram {
 public:
  // Fills in `version`. Code::no_permission, Code::unsupported, Code::no_memory.
  static Status load(block_writes_target target, std::unique_ptr<BpfProgram>* program);
  // From here on it sees requests.
  Status attach();
  Status pin(const BpfPins& pins) const;
  // One that is pinned and attached. Code::not_found when there is none with this target, of this
  // version, or not all of one.
  static Status find(const BpfPins& pins, block_writes_target target,
                     std::unique_ptr<BpfProgram>* program);

  // Times that the kernel did not run it when a write began, or began anew, because it ran already.
  // That comes to pass at completions too, where they come by interrupts (Xen's host, 1 processor):
  // nothing relies on those.
  uint64_t misses() const;

  // Whoever is in flight before and after this is among them. What can't be read counts as untold.
  void flights(std::vector<Flight>* flights) const;
  // That one has landed.
  void forget(const Flight& flight);

  SharedWords marks, summary, notes, counters;

 private:
  struct Part {
    std::string name;
    FileDescriptor fd;
  };
  void choose(bool bios);
  Status share(const block_writes_target& target);
  int map(const std::string& name) const;

  std::vector<Part> programs_, links_, maps_;
  SharedWords slots_;
  int bios_ = -1;  // one of maps_
};

}  // namespace blockferry
