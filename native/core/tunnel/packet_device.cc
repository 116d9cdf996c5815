#include "tunnel/packet_device.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

namespace blockferry {

namespace {

ifreq request_for(const std::string& name) {
  ifreq request = {};
  name.copy(request.ifr_name, IFNAMSIZ - 1);
  return request;
}

// Without this, the kernel would make a device that does not outlive us.
bool exists(const ifreq& device) {
  FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = device;
  return socket.open() && ioctl(socket.get(), SIOCGIFINDEX, &request) == 0;
}

}  // namespace

Status TunDevice::open(const std::string& name) {
  name_ = name;
  ifreq request = request_for(name);
  if (!exists(request)) return Status::failure(Code::not_found, "the device " + name);
  FileDescriptor fd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.open()) return Status::from_errno(errno, "open /dev/net/tun");
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) {
    return Status::from_errno(errno, "use the TUN device " + name);
  }
  fd_ = std::move(fd);
  return {};
}

Status TunDevice::set_mtu(uint32_t mtu) {
  FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request = request_for(name_);
  request.ifr_mtu = static_cast<int>(mtu);
  if (socket.open() && ioctl(socket.get(), SIOCSIFMTU, &request) == 0) return {};
  return Status::from_errno(errno, "set the MTU of " + name_);
}

}  // namespace blockferry
