// Two connected sockets for the tests.
#pragma once

#include <sys/socket.h>

#include "base/file_descriptor.h"
#include "test/check.h"

namespace blockferry {

struct SocketPair {
  SocketPair() {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    one.reset(fds[0]);
    other.reset(fds[1]);
  }
  FileDescriptor one, other;
};

}  // namespace blockferry
