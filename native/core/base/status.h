// What an operation of the core answers: a code, the errno behind it, and what was being done.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

namespace blockferry {

// Stable names: lib/base/error-codes.ts carries the same list (code_name() spells them).
enum class Code {
  ok,
  invalid,    // the caller's arguments make no sense
  not_found,  // no such file, device or export
  is_directory,
  bad_size,   // not a multiple of 512, or zero
  too_small,  // the destination cannot hold the source
  read_only,
  no_permission,
  busy,  // locked or opened exclusively by somebody else
  no_space,
  io_error,
  short_read,  // the origin ended before its size: it was cut short
  address_in_use,
  unreachable,  // connect failed
  timeout,
  peer_gone,  // the connection ended before its work was done
  protocol,   // the peer broke the protocol
  version,    // the peer speaks another version
  checksum,   // a frame's content does not match its checksum
  refused,    // the peer said no; its words are in `operation`
  not_equal,  // the destination's bytes differ from what was sent
  no_memory,
  unsupported,
  closed,         // the object was closed
  tls,            // one side speaks TLS and the other does not
  unauthorized,   // the peer is not who it has to be, or says so of us
  unaccounted,    // a tap in the kernel may have missed writes
  table_changed,  // another tool has changed a device that a tap is in
  internal,       // a mistake of ours
};

inline constexpr Code kLastCode = Code::internal;

const char* code_name(Code code);

struct [[nodiscard]] Status {
  Code code = Code::ok;
  int error = 0;          // errno, 0 when none is behind it
  std::string operation;  // what failed, for a person: "read 4096 bytes at 8192 of /dev/vg0/web"

  bool ok() const { return code == Code::ok; }

  static Status failure(Code code, std::string operation, int error = 0) {
    return {code, error, std::move(operation)};
  }
  // Picks the code that goes with an errno.
  static Status from_errno(int error, std::string operation);
};

}  // namespace blockferry
