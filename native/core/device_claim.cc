#include "device_claim.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace blockferry {

// An abstract name.
Status claim_device(const std::string& number, const std::string& path, FileDescriptor* claim) {
  std::string name = "blockferry-tap-" + number;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path + 1, name.data(), name.size());
  auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  claim->reset(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  bool claimed = claim->open() &&
                 bind(claim->get(), reinterpret_cast<sockaddr*>(&address), size) == 0;
  if (claimed) return {};
  int error = errno;
  claim->reset();
  if (error != EADDRINUSE) return Status::from_errno(error, "claim " + path);
  return Status::failure(Code::busy, path + " has a tap already", EBUSY);
}

}  // namespace blockferry
