// A control connection behind its greeting.
#include "frames.h"
#include "peer.h"
#include "wire/control_channel.h"

#include <future>

using namespace blockferry;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  Peer peer(frames(input, {FrameType::control, FrameType::error}));
  auto socket = std::make_unique<Socket>(peer.take());
  FrameReader reader(*socket);
  std::promise<Status> ended;
  ControlChannel channel;
  Status started =
      channel.start(std::move(socket), std::move(reader),
                    {[&](std::string text, Backlog::Share) { (void)channel.send(text); },
                     [&](Status status) { ended.set_value(std::move(status)); }});
  if (!started.ok()) abort();
  if (ended.get_future().get().ok()) abort();  // whatever came, it was not for ever
  channel.close();
  return 0;
}
