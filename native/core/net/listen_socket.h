// A listening stream socket, Unix or TCP, for the NBD server and the migration's receiver.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

// Where to listen: a Unix socket's path, or a TCP host and port.
struct ListenAddress {
  std::string unix_path;  // when not empty, the rest is ignored
  std::string host;       // a name or a numeric address; 0.0.0.0 or :: for every interface
  uint16_t port = 0;      // 0: any free one
};

class ListenSocket {
 public:
  ListenSocket() = default;
  ~ListenSocket() { close(); }
  ListenSocket(ListenSocket&& other) noexcept = default;
  ListenSocket& operator=(ListenSocket&& other) noexcept;

  // A Unix socket gets mode 0600 and replaces a stale one that nobody listens on; a path taken
  // by anything else is Code::address_in_use. A host with several addresses listens on the first
  // that can be bound. Fails with invalid, not_found, address_in_use, no_permission, unreachable.
  Status open(const ListenAddress& address);
  bool is_open() const { return fd_.open(); }

  // Readable when somebody connects.
  int fd() const { return fd_.get(); }
  // Where it really listens: a numeric host and the port it got.
  const ListenAddress& bound() const { return bound_; }

  // The next connection: close-on-exec, blocking, without Nagle's delay. Never waits: not open
  // when nobody is there. `error` is the errno of a lack of resources (EMFILE, ENOMEM, …), after
  // which the caller should pause, else 0.
  FileDescriptor accept(int* error);

  // Stops listening; removes a Unix socket's path if it is still this socket's.
  void close();

 private:
  Status open_unix(const std::string& path);
  Status bind_unix(const std::string& path);
  Status open_tcp(const std::string& host, uint16_t port);
  void remember_tcp_address();

  FileDescriptor fd_;
  ListenAddress bound_;
  dev_t device_ = 0;  // of the Unix socket's path
  ino_t inode_ = 0;
};

}  // namespace blockferry
