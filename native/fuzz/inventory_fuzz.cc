// What a destination says that it holds, at the source.
#include <future>

#include "frames.h"
#include "send/sender.h"
#include "test/send/raw_destination.h"

using namespace blockferry;

namespace {

// Behind the greetings.
void say(Socket& socket, std::string words) {
  iovec part = {words.data(), words.size()};
  (void)socket.send(&part, 1);  // the source may have hung up already
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  static RawDestination destination;
  std::promise<void> failed;
  Sender sender({[](std::string, Backlog::Share) {}, [] {}, [](uint64_t) {},
                 [&](Status) { failed.set_value(); }},
                20'000, {});
  std::unique_ptr<Socket> control, inventory;
  std::thread peer([&] {
    control = destination.welcome("control");
    inventory = destination.welcome("inventory " + RawDestination::kSession);
    say(*inventory, frames(input, {FrameType::hashes}));
    inventory.reset();
  });
  CHECK(sender.connect("127.0.0.1", destination.port(), 5000).ok());
  auto tap = std::make_shared<Tap>(make_memory_origin(kFuzzedDisk));
  tap->track(std::make_shared<Tracking>(kFuzzedDisk, kFuzzedBlock));
  sender.add_disk(tap, {false, true, true});
  CHECK(sender.open_inventory().ok());
  peer.join();
  control.reset();  // now it fails in any case, if it has not yet
  failed.get_future().get();
  sender.close();
  return 0;
}
