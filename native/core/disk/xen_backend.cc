#include "disk/xen_backend.h"

#include <algorithm>
#include <cstdio>

#include "base/kernel_files.h"

namespace blockferry {

namespace {

// It is written in hexadecimal there.
std::string number_of(const std::string& device) {
  unsigned major = 0, minor = 0;
  if (sscanf(device.c_str(), "%x:%x", &major, &minor) != 2) return "";
  return std::to_string(major) + ":" + std::to_string(minor);
}

}  // namespace

std::string xen_user_of(const std::vector<std::string>& numbers, const std::string& backends) {
  for (const auto& backend : entries_of(backends)) {
    unsigned domain = 0;
    if (sscanf(backend.filename().c_str(), "vbd-%u-", &domain) != 1) continue;
    std::string number = number_of(first_line(backend / "physical_device"));
    bool is_its = std::find(numbers.begin(), numbers.end(), number) != numbers.end();
    bool writes = first_line(backend / "mode").starts_with("w");
    if (is_its && writes) return "the Xen domain " + std::to_string(domain);
  }
  return "";
}

}  // namespace blockferry
