// Where the packets of a user-space tunnel come from and go to.
#pragma once

#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

// One read or write of its descriptor, which never waits, is one packet. One thread reads, others
// write.
class PacketDevice {
 public:
  virtual ~PacketDevice() = default;
  virtual int fd() const = 0;
  // The kernel announces to senders what it does not take any more.
  virtual Status set_mtu(uint32_t mtu) = 0;
};

// A TUN device that is there already and outlives its user. While nobody uses it, it drops what
// is sent into it.
class TunDevice : public PacketDevice {
 public:
  // Code::busy when somebody uses it already; not_found, no_permission, unsupported.
  Status open(const std::string& name);
  int fd() const override { return fd_.get(); }
  Status set_mtu(uint32_t mtu) override;

 private:
  std::string name_;
  FileDescriptor fd_;
};

}  // namespace blockferry
