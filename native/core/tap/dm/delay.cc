#include "tap/dm/delay.h"

#include <cstdio>

namespace blockferry {

DmTable delay_table(uint64_t sectors, const DmDevice& below, unsigned ms) {
  std::string reads = below.number() + " 0 0", writes = below.number() + " 0 " + std::to_string(ms);
  return {{0, sectors, "delay", reads + " " + writes}};
}

bool is_delay(const DmTable& table) { return table.size() == 1 && table[0].type == "delay"; }

Status lift_delay(const DmDevice& device) {
  DmTable table;
  Status status = device.table(&table);
  unsigned major = 0, minor = 0;
  if (!status.ok() || !is_delay(table)) return status;
  if (sscanf(table[0].params.c_str(), "%u:%u", &major, &minor) != 2) return status;
  status = device.load(delay_table(sectors_of(table), DmDevice(major, minor), 0));
  return status.ok() ? device.resume() : status;
}

}  // namespace blockferry
