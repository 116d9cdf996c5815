// A client of the NBD server, from its first byte on or behind a handshake. Whatever it asks for,
// every block that it changes is marked, and nothing stays in flight.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdlib>

#include "disk/block_hash.h"
#include "nbd/connection.h"
#include "nbd/protocol.h"
#include "peer.h"

using namespace blockferry;
using namespace blockferry::nbd;

namespace {

constexpr uint64_t kSize = 256 << 10;
constexpr uint32_t kBlock = 4096;

class OneExport : public NbdConnectionHost {
 public:
  OneExport(std::shared_ptr<Tap> tap, bool read_only)
      : tap_(std::move(tap)), entry_{1, "disk", "what is fuzzed", read_only, kSize, 1} {}
  std::vector<NbdExportInfo> exports() const override { return {entry_}; }
  std::optional<NbdExportInfo> find_export(const std::string& name) const override {
    if (name.empty() || name == entry_.name) return entry_;
    return std::nullopt;
  }
  std::shared_ptr<Tap> attach(NbdConnection*, const NbdExportInfo&) override { return tap_; }
  void count_protocol_error() override {}

 private:
  std::shared_ptr<Tap> tap_;
  NbdExportInfo entry_;
};

std::string big_endian(uint64_t value, int size) {
  std::string bytes;
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8)
    bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string option(uint32_t number, const std::string& data) {
  return big_endian(kOptionMagic, 8) + big_endian(number, 4) + big_endian(data.size(), 4) + data;
}

std::string counted(const std::string& words) { return big_endian(words.size(), 4) + words; }

std::string fuzzed_option(FuzzedDataProvider& input) {
  uint32_t number = input.ConsumeIntegralInRange(0, 12);
  return option(number, input.ConsumeBool() ? counted("disk") + input.ConsumeRandomLengthString(64)
                                            : input.ConsumeRandomLengthString(256));
}

std::string handshake(FuzzedDataProvider& input) {
  std::string words = big_endian(input.ConsumeIntegralInRange(0, 4), 4);
  for (int options = input.ConsumeIntegralInRange(0, 4); options > 0; options--) {
    words += fuzzed_option(input);
  }
  if (input.ConsumeBool()) words += option(kOptStructuredReply, "");
  if (input.ConsumeBool()) {
    words +=
        option(kOptSetMetaContext, counted("disk") + big_endian(1, 4) + counted("base:allocation"));
  }
  return words + option(kOptGo, counted("disk") + big_endian(0, 2));
}

uint64_t place(FuzzedDataProvider& input) {
  return input.ConsumeIntegralInRange(0, 15) == 0
             ? input.ConsumeIntegral<uint64_t>()
             : input.ConsumeIntegralInRange<uint64_t>(0, kSize);
}

std::string request(FuzzedDataProvider& input) {
  uint16_t command = input.ConsumeIntegralInRange<uint16_t>(0, 8);
  uint16_t flags = input.ConsumeIntegralInRange<uint16_t>(0, 31);
  uint32_t length = static_cast<uint32_t>(place(input));
  std::string head = big_endian(kRequestMagic, 4) + big_endian(flags, 2) + big_endian(command, 2) +
                     big_endian(input.ConsumeIntegral<uint64_t>(), 8) +
                     big_endian(place(input), 8) + big_endian(length, 4);
  if (command != kCmdWrite) return head;
  return head + std::string(std::min<uint64_t>(length, kSize), input.ConsumeIntegral<char>());
}

std::string words_of(FuzzedDataProvider& input) {
  if (input.ConsumeIntegralInRange(0, 7) == 0) return input.ConsumeRemainingBytesAsString();
  std::string words = handshake(input);
  while (input.remaining_bytes() > 0 && words.size() < (4 << 20)) {
    words += input.ConsumeIntegralInRange(0, 15) == 0 ? input.ConsumeRandomLengthString(64)
                                                      : request(input);
  }
  return words;
}

void check_marked(Tap& tap) {
  if (!tap.drained()) abort();
  std::string content(kSize, '\0');
  if (!tap.origin().read(content.data(), 0, kSize).ok()) abort();
  for (uint64_t at = 0; at < kSize; at += kBlock) {
    bool zero = is_zero(reinterpret_cast<const uint8_t*>(&content[at]), kBlock);
    if (!zero && !tap.tracking()->dirty().test(at / kBlock)) abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider input(data, size);
  auto tap = std::make_shared<Tap>(make_memory_origin(kSize));
  tap->track(std::make_shared<Tracking>(kSize, kBlock));
  OneExport host(tap, input.ConsumeIntegralInRange(0, 7) == 0);
  NbdServerOptions options;
  options.queue_depth = 4;
  Peer client(words_of(input));
  NbdConnection(client.take(), host, options).run();
  check_marked(*tap);
  return 0;
}
