// A destination whose inventory does not fit: the source ends the migration with a clear code.
// sanitizers: address, thread
#include <functional>
#include <future>
#include <thread>
#include <vector>

#include "disk/block_hash.h"
#include "send/sender.h"
#include "test/check.h"
#include "test/send/raw_destination.h"

using namespace blockferry;

namespace {

constexpr uint64_t kSize = 40 << 20;  // two stripes and a half
constexpr uint32_t kBlock = 4096;

struct Told {
  FrameHeader header;
  std::vector<uint64_t> hashes;
};

// What a stripe that holds zeroes is told as: without a list.
Told zeroes(uint64_t offset, uint64_t length) {
  Told told;
  told.header.type = FrameType::hashes;
  told.header.offset = offset;
  told.header.length = length;
  told.header.check = check_of(nullptr, 0, offset);
  return told;
}

Told listed(uint64_t offset, uint64_t length) {
  Told told = zeroes(offset, length);
  told.hashes.assign(length / kBlock, 4711);
  told.header.payload = static_cast<uint32_t>(told.hashes.size() * sizeof(uint64_t));
  told.header.check = check_of(told.hashes.data(), told.hashes.size(), offset);
  return told;
}

Told end() {
  Told told;
  told.header.type = FrameType::hashes;
  return told;
}

void tell(Socket& socket, const Told& told) {
  uint8_t bytes[kHeaderSize];
  encode_header(told.header, bytes);
  iovec parts[2] = {{bytes, sizeof bytes},
                    {const_cast<uint64_t*>(told.hashes.data()), told.hashes.size() * 8}};
  (void)socket.send(parts, told.hashes.empty() ? 1 : 2);  // the source may have hung up already
}

// How a migration ends whose destination tells this.
Status end_of(const std::vector<Told>& inventory) {
  RawDestination destination;
  std::promise<Status> failed;
  Sender sender({[](std::string, Backlog::Share) {}, [] {}, [](uint64_t) {},
                 [&](Status status) { failed.set_value(std::move(status)); }},
                20'000, {});
  std::future<std::unique_ptr<Socket>> control =
      std::async(std::launch::async, [&] { return destination.welcome("control"); });
  CHECK(sender.connect("127.0.0.1", destination.port(), 5000).ok());
  auto tap = std::make_shared<Tap>(make_memory_origin(kSize));
  tap->track(std::make_shared<Tracking>(kSize, kBlock));
  sender.add_disk(tap, {false, true, true});
  std::future<std::unique_ptr<Socket>> told = std::async(std::launch::async, [&] {
    std::unique_ptr<Socket> socket = destination.welcome("inventory " + RawDestination::kSession);
    for (const Told& part : inventory) tell(*socket, part);
    return socket;
  });
  CHECK(sender.open_inventory().ok());
  std::unique_ptr<Socket> open = told.get();
  Status status = failed.get_future().get();
  sender.close();
  return status;
}

void check(const char* name, Code code, const std::vector<Told>& inventory) {
  CHECK(end_of(inventory).code == code);
  printf("ok %s\n", name);
}

Told with(Told told, const std::function<void(FrameHeader&)>& change) {
  change(told.header);
  return told;
}

}  // namespace

int main() {
  Told first = zeroes(0, kStripe);
  Told second = listed(kStripe, kStripe);
  Told last = zeroes(2 * kStripe, kSize - 2 * kStripe);
  check("a stripe is missing", Code::protocol, {first, last});
  check("stripes in the wrong order", Code::protocol, {second, first});
  check("a stripe twice", Code::protocol, {first, first});
  check("it ends too early", Code::protocol, {first, end()});
  check("past the end", Code::protocol, {first, second, zeroes(2 * kStripe, kStripe)});
  check("a part of a block", Code::protocol, {zeroes(0, 1000)});
  check("a disk that is not there", Code::protocol,
        {with(first, [](FrameHeader& header) { header.disk = 1; })});
  check("more than a stripe", Code::protocol, {listed(0, kStripe + kBlock)});
  check("fewer hashes than blocks", Code::protocol,
        {first, with(second, [](FrameHeader& header) { header.payload -= 8; })});
  check("more hashes than blocks", Code::protocol,
        {with(listed(0, kBlock), [](FrameHeader& header) { header.payload += 8; })});
  check("hashes that do not match their check", Code::checksum,
        {first, with(second, [](FrameHeader& header) { header.check++; })});
  check("zeroes that do not match their check", Code::checksum,
        {with(first, [](FrameHeader& header) { header.check++; })});
  check("a frame of another kind", Code::protocol,
        {with(end(), [](FrameHeader& header) { header.type = FrameType::mark; })});
}
