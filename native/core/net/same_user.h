// Whose the other end of a connection over this host's loopback is. A host's loopback is not one user's:
// whoever can log in can connect to a port there, or listen on one.
#pragma once

#include "base/status.h"

namespace blockferry {

// Ok when the connection's other end belongs to a process of this user's, or of root's, on this host.
// Code::unauthorized when it does not, or when the kernel doesn't tell: one that nobody has accepted has no
// owner yet. Code::peer_gone when it has been closed.
Status check_same_user(int fd);

}  // namespace blockferry
