// The relay of a machine's memory: both directions over real sockets, and peers that lie.
// sanitizers: address, thread
#include "memory/machine_relay.h"

#include <sys/socket.h>
#include <xxhash.h>

#include <cstring>
#include <random>
#include <string>
#include <thread>

#include "test/check.h"
#include "test/socket_pair.h"
#include "wire/wire.h"

using namespace blockferry;

namespace {

// Pages that come again with little changed, as memory does.
std::string memory_like(size_t length, unsigned seed) {
  std::mt19937 random(seed);
  std::string page(4096, '\0');
  std::string bytes;
  while (bytes.size() < length) {
    if (random() % 3 == 0) {
      for (auto& byte : page) byte = static_cast<char>(random());
    }
    page[random() % page.size()] = static_cast<char>(random());
    bytes += page;
  }
  bytes.resize(length);
  return bytes;
}

void write_all(int fd, const std::string& bytes) {
  size_t at = 0;
  while (at < bytes.size()) {
    ssize_t put = write(fd, bytes.data() + at, bytes.size() - at);
    CHECK(put > 0);
    at += static_cast<size_t>(put);
  }
  shutdown(fd, SHUT_WR);
}

std::string read_all(int fd) {
  std::string bytes;
  char buffer[65536];
  for (;;) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    CHECK(got >= 0);
    if (got == 0) return bytes;
    bytes.append(buffer, static_cast<size_t>(got));
  }
}

// hypervisor ⇄ relay ⇄ relay ⇄ hypervisor
void both_directions_arrive(int level, uint64_t max_in_flight, unsigned seed) {
  SocketPair source, wire, destination;
  RelayLimits limits, unlimited;
  limits.level = level;
  limits.max_in_flight = max_in_flight;
  RelayCounters there, back;
  Socket one(std::move(wire.one)), other(std::move(wire.other));
  FrameReader source_reader(one), destination_reader(other);
  MachineRelay sender(std::move(source.other), one, source_reader, limits, there);
  MachineRelay receiver(std::move(destination.other), other, destination_reader, unlimited, back);
  std::string memory = memory_like(9'000'001, seed), answer = memory_like(300'000, seed + 1);
  std::string got_memory, got_answer;
  Status sent, received;
  std::thread threads[] = {
      std::thread([&] { sent = sender.run(); }),
      std::thread([&] { received = receiver.run(); }),
      std::thread([&] { write_all(source.one.get(), memory); }),
      std::thread([&] { write_all(destination.one.get(), answer); }),
      std::thread([&] { got_memory = read_all(destination.one.get()); }),
      std::thread([&] { got_answer = read_all(source.one.get()); }),
  };
  for (auto& thread : threads) thread.join();
  CHECK(sent.ok() && received.ok());
  CHECK(got_memory == memory && got_answer == answer);
  CHECK(there.content_bytes == memory.size());
  if (level != 0) CHECK(there.wire_bytes < memory.size() / 2);
}

void put_frame(int fd, FrameHeader header, const std::string& payload) {
  uint8_t bytes[kHeaderSize];
  encode_header(header, bytes);
  std::string frame(reinterpret_cast<char*>(bytes), sizeof bytes);
  frame += payload;
  (void)!send(fd, frame.data(), frame.size(), MSG_NOSIGNAL);
}

FrameHeader piece(const std::string& payload, uint64_t length, uint16_t flags) {
  FrameHeader header;
  header.type = FrameType::machine;
  header.flags = flags;
  header.length = length;
  header.payload = static_cast<uint32_t>(payload.size());
  header.check = XXH3_64bits(payload.data(), payload.size());
  return header;
}

// What the relay says about a peer that sends this and nothing more.
Status after(const FrameHeader& header, const std::string& payload) {
  SocketPair local, wire;
  RelayLimits limits;
  RelayCounters counters;
  Socket peer(std::move(wire.one));
  FrameReader reader(peer);
  MachineRelay relay(std::move(local.other), peer, reader, limits, counters);
  put_frame(wire.other.get(), header, payload);
  shutdown(wire.other.get(), SHUT_WR);
  Status status = relay.run();
  char byte;
  CHECK(read(local.one.get(), &byte, 1) <= 0);  // the hypervisor got nothing of it
  return status;
}

void lies_are_told_and_not_passed_on() {
  std::string payload(1000, 'x');
  FrameHeader wrong = piece(payload, payload.size(), 0);
  wrong.check++;
  CHECK(after(wrong, payload).code == Code::checksum);
  CHECK(after(piece(payload, 5000, kFlagZstd), payload).code == Code::protocol);
  CHECK(after(piece(payload, 999, 0), payload).code == Code::protocol);
  CHECK(after(piece(payload, kMaxExtent + 1, kFlagZstd), payload).code == Code::protocol);
  FrameHeader data = piece(payload, payload.size(), 0);
  data.type = FrameType::data;
  CHECK(after(data, payload).code == Code::protocol);
  CHECK(after(piece(payload, payload.size(), 0), payload.substr(1)).code == Code::peer_gone);
  CHECK(after(piece("", 77, 0), "").code == Code::protocol);
}

// A small piece that claims to become a large one is stopped at its length.
void a_bomb_does_not_go_off() {
  std::string zeroes(8 << 20, '\0');
  StreamCompressor compressor;
  const std::vector<uint8_t>* packed = nullptr;
  CHECK(compressor
            .compress(reinterpret_cast<const uint8_t*>(zeroes.data()), zeroes.size(), 1, &packed)
            .ok());
  std::string payload(packed->begin(), packed->end());
  CHECK(after(piece(payload, 1 << 20, kFlagZstd), payload).code == Code::protocol);
}

void the_hypervisor_goes_away() {
  SocketPair local, wire;
  RelayLimits limits;
  RelayCounters counters;
  Socket peer(std::move(wire.one));
  FrameReader reader(peer);
  MachineRelay relay(std::move(local.other), peer, reader, limits, counters);
  local.one.reset();
  shutdown(wire.other.get(), SHUT_WR);
  Status status = relay.run();
  CHECK(status.code == Code::peer_gone);  // the peer hung up without an end
}

}  // namespace

int main() {
  unsigned seed = std::random_device()();
  fprintf(stderr, "seed %u\n", seed);
  RUN(both_directions_arrive(0, 0, seed));
  RUN(both_directions_arrive(1, 0, seed));
  RUN(both_directions_arrive(1, 100'000, seed));
  RUN(lies_are_told_and_not_passed_on());
  RUN(a_bomb_does_not_go_off());
  RUN(the_hypervisor_goes_away());
}
