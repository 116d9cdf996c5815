// The addresses of a host, within a time: the resolver's own may be a minute, or none.
#pragma once

#include <netdb.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"

namespace blockferry {

struct FreeAddresses {
  void operator()(addrinfo* list) const { freeaddrinfo(list); }
};
using Addresses = std::unique_ptr<addrinfo, FreeAddresses>;

// Stream addresses of a name or a numeric address; `flags`: AI_… of getaddrinfo(). Code::not_found,
// Code::timeout, Code::no_memory.
Status resolve(const std::string& host, uint16_t port, int flags,
               std::chrono::steady_clock::time_point deadline, Addresses* addresses);

}  // namespace blockferry
