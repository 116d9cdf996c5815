// TCP sockets as a migration needs them: connected within a time, telling of a dead peer, and
// with little unsent data in the kernel.
#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

using Deadline = std::chrono::steady_clock::time_point;
inline constexpr Deadline kNoDeadline = Deadline::max();

Status connect_tcp(const std::string& host, uint16_t port, uint32_t timeout_ms,
                   FileDescriptor* socket);

// No delay, keep-alive, and ETIMEDOUT when sent data stays unacknowledged for `timeout_ms`.
// Unsent data in the kernel is held low (bytes): it would be a queue in front of the residual.
inline constexpr int kUnsent = 4 << 20;
void tune_socket(int fd, uint32_t timeout_ms, int unsent = kUnsent);

// Sends everything, by the deadline (else Code::timeout). `parts` is changed.
Status send_all(int fd, iovec* parts, size_t count, Deadline deadline = kNoDeadline);

// Sends it in one call that does not wait. Code::timeout when not all of it fits: the connection
// is of no use then.
Status send_at_once(int fd, const void* bytes, size_t length);

// Receives at least 1 and at most `length` bytes; Code::peer_gone at the end of the stream,
// Code::timeout at the deadline.
Status receive_some(int fd, void* buffer, size_t length, Deadline deadline, size_t* got);

struct SocketProgress {
  uint64_t acknowledged = 0;  // bytes, ever
  uint64_t in_flight = 0;     // bytes written to the socket and not acknowledged
  uint32_t round_trip_us = 0;
};
SocketProgress socket_progress(int fd);

}  // namespace blockferry
