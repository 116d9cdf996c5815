// Taps in the kernel, for tests.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include "tap/watched_tap.h"
#include "test/check.h"

namespace blockferry {

// Null, or a reason to skip: the kernel or the user's rights do not allow it.
inline const char* bpf_obstacle() {
  if (geteuid() != 0) return "eBPF needs root";
  struct stat info;
  if (stat("/sys/kernel/btf/vmlinux", &info) != 0) return "the kernel has no BTF";
#ifndef BLOCKFERRY_HAVE_BPF
  return "built without clang or libbpf";
#endif
  return nullptr;
}

inline std::shared_ptr<Tap> open_bpf_tap(const std::string& device, const std::string& map) {
  std::shared_ptr<Tap> tap;
  Status status = open_bpf_tap(device, map, 4096, &tap);
  if (!status.ok()) fprintf(stderr, "%s: %s\n", code_name(status.code), status.operation.c_str());
  CHECK(status.ok());
  return tap;
}

}  // namespace blockferry
