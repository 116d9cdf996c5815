// A connection with a machine's memory, on its way to the hypervisor.
#include "frames.h"
#include "memory/machine_relay.h"
#include "peer.h"

using namespace blockferry;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  Peer hypervisor(input.ConsumeRandomLengthString(1024));
  Peer peer(frames(input, {FrameType::machine}));
  Socket socket(peer.take());
  FrameReader reader(socket);
  RelayLimits limits;
  RelayCounters counters;
  limits.level = input.ConsumeIntegralInRange(0, 1);
  (void)MachineRelay(hypervisor.take(), socket, reader, limits, counters).run();
  return 0;
}
