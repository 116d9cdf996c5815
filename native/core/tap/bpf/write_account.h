// The account of a watch: the sectors that it saw issued against those that the kernel's own
// statistics say were written and discarded. The two are equal exactly when nothing is in flight
// and nothing was missed. It lies among the program's counters, so that it goes on where the
// program outlives the process.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/status.h"
#include "disk/block_device.h"
#include "tap/bpf/program.h"

namespace blockferry {

class WriteAccount {
 public:
  // Both outlive it.
  WriteAccount(const BlockDevice& device, const BpfProgram& program)
      : device_(device), program_(program) {}

  // Begins to count, at a moment when nothing is in flight: a disk that is never idle is made so.
  Status begin();
  // It balances now.
  bool balances() const;
  // Code::unaccounted, or what else is wrong, when it is known that it never will.
  Status check() const;
  // It did not balance though it should.
  Status unbalanced() const;

 private:
  Word& counter(block_writes_counter which) const { return program_.counters[which]; }
  Status drained_balance(bool mildly, int64_t* balance) const;
  Status watch_balance(const std::atomic<bool>& drained, int64_t* balance) const;
  Status unaccounted(const std::string& why) const;

  const BlockDevice& device_;
  const BpfProgram& program_;
};

}  // namespace blockferry
