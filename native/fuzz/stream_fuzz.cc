// A data stream at the destination, up to the disk. What was written counts as received, and a
// block that never came still holds zeroes.
#include <cstdlib>

#include "frames.h"
#include "peer.h"
#include "receive/session.h"

using namespace blockferry;

namespace {

uint64_t written_blocks(Origin& origin) {
  std::string content(kFuzzedDisk, '\0');
  if (!origin.read(content.data(), 0, kFuzzedDisk).ok()) abort();
  uint64_t written = 0;
  for (uint64_t at = 0; at < kFuzzedDisk; at += kFuzzedBlock) {
    written += !is_zero(reinterpret_cast<const uint8_t*>(&content[at]), kFuzzedBlock);
  }
  return written;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  bool inventory = input.ConsumeBool(), verify = input.ConsumeBool();
  auto tap = std::make_shared<Tap>(make_memory_origin(kFuzzedDisk));
  Peer control("", true), told("");
  Peer stream(frames(input, {FrameType::data, FrameType::zero, FrameType::same, FrameType::mark}));
  ReceiverSession session("id", "");
  auto control_socket = std::make_unique<Socket>(control.take());
  FrameReader control_reader(*control_socket);
  session.adopt_control(std::move(control_socket), std::move(control_reader));
  session.add_disk(tap, kFuzzedDisk, kFuzzedBlock, inventory);
  session.start(
      {[](std::string, Backlog::Share) {}, [](uint64_t) {}, [](VerifiedMark) {}, [](Status) {}});
  if (!session.accept_streams(1, verify).ok()) abort();
  Socket inventory_socket(told.take());
  if (session.join_inventory(inventory_socket).ok() != inventory) abort();
  if (inventory) session.run_inventory(inventory_socket);
  Socket socket(stream.take());
  FrameReader reader(socket);
  if (!session.join_stream(0, 1, socket).ok()) abort();
  session.run_stream(0, socket, reader);
  uint64_t left = inventory ? session.stats().missing_bytes / kFuzzedBlock : 0;
  if (left + written_blocks(tap->origin()) > kFuzzedDisk / kFuzzedBlock) abort();
  session.close();
  return 0;
}
