#include "tap/dm/settings.h"

#include <fstream>

namespace blockferry {

namespace {

constexpr const char* kSettings[] = {"read_ahead_kb", "max_sectors_kb", "discard_max_bytes",
                                     "rotational", "iostats"};

std::string path_of(const DmDevice& device, const std::string& setting) {
  return "/sys/dev/block/" + device.number() + "/queue/" + setting;
}

std::string read_setting(const std::string& path) {
  std::string value;
  std::getline(std::ifstream(path), value);
  return value;
}

}  // namespace

void copy_settings(const DmDevice& from, const DmDevice& to) {
  for (const char* setting : kSettings) {
    std::string value = read_setting(path_of(from, setting)), path = path_of(to, setting);
    if (!value.empty() && value != read_setting(path)) std::ofstream(path) << value << std::flush;
  }
}

}  // namespace blockferry
