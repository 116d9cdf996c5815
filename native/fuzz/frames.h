// Frames out of a fuzzer's bytes. Most have the checks that belong to them: without that nothing
// would ever get past the first of them.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>
#include <xxhash.h>

#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "disk/block_hash.h"
#include "wire/compressor.h"
#include "wire/wire.h"

namespace blockferry {

constexpr uint32_t kFuzzedBlock = 512;
constexpr uint64_t kFuzzedDisk = 64 << 10;

inline uint64_t place(FuzzedDataProvider& input) {
  if (input.ConsumeIntegralInRange(0, 7) == 0) return input.ConsumeIntegral<uint64_t>();
  return input.ConsumeIntegralInRange<uint64_t>(0, kFuzzedDisk / kFuzzedBlock) * kFuzzedBlock;
}

inline std::string content_of(FuzzedDataProvider& input) {
  if (input.ConsumeBool()) return input.ConsumeRandomLengthString(3 * kFuzzedBlock);
  size_t blocks = input.ConsumeIntegralInRange<size_t>(0, 16);
  return std::string(blocks * kFuzzedBlock, input.ConsumeIntegral<char>());
}

inline std::string packed(const std::string& content) {
  Compressor compressor;
  uint32_t size = 0;
  auto bytes = reinterpret_cast<const uint8_t*>(content.data());
  const uint8_t* smaller = compressor.compress(bytes, content.size(), 1, &size);
  return smaller == nullptr ? content : std::string(reinterpret_cast<const char*>(smaller), size);
}

inline uint64_t check_of(FrameType type, const std::string& content, uint64_t offset) {
  auto bytes = reinterpret_cast<const uint8_t*>(content.data());
  if (type == FrameType::hashes) {
    std::vector<uint64_t> hashes(content.size() / 8);
    if (!hashes.empty()) memcpy(hashes.data(), bytes, hashes.size() * 8);
    return check_of(hashes.data(), hashes.size(), offset);
  }
  if (type != FrameType::data) return XXH3_64bits(bytes, content.size());
  std::vector<uint64_t> hashes(content.size() / kFuzzedBlock + 1);
  hash_blocks(bytes, content.size(), kFuzzedBlock, hashes.data());
  return check_of(hashes.data(), (content.size() + kFuzzedBlock - 1) / kFuzzedBlock, offset);
}

// `usual`: the types that belong here.
inline std::string frame(FuzzedDataProvider& input, std::initializer_list<const FrameType> usual) {
  std::string content = content_of(input);
  FrameHeader header;
  header.type = input.ConsumeIntegralInRange(0, 7) == 0
                    ? FrameType(input.ConsumeIntegral<uint8_t>())
                    : input.PickValueInArray(usual);
  header.flags = input.PickValueInArray<uint16_t>({0, 0, kFlagZstd, kFlagZeroes, 4, 0xffff});
  header.disk = input.PickValueInArray<uint32_t>({0, 0, 0, 1, 2, 0xffffffff});
  header.offset = place(input);
  header.length = input.ConsumeBool() ? content.size() : place(input);
  header.check = check_of(header.type, content, header.offset);
  if (header.type == FrameType::same) {
    size_t count = header.flags & kFlagZeroes ? 0 : header.length / kFuzzedBlock % 1024;
    std::vector<uint64_t> zeroes(count, kZeroBlock);
    header.check = check_of(zeroes.data(), zeroes.size(), header.offset);
  }
  if (header.type == FrameType::mark) header.length = input.ConsumeIntegralInRange(0, 3);
  std::string payload = header.flags == kFlagZstd ? packed(content) : content;
  bool none = header.type == FrameType::zero || header.type == FrameType::mark ||
              header.type == FrameType::same;
  if (none) payload.clear();
  header.payload = static_cast<uint32_t>(payload.size());
  if (input.ConsumeIntegralInRange(0, 7) == 0) header.payload = input.ConsumeIntegral<uint32_t>();
  if (input.ConsumeIntegralInRange(0, 7) == 0) header.check = input.ConsumeIntegral<uint64_t>();
  std::string bytes(kHeaderSize, '\0');
  encode_header(header, reinterpret_cast<uint8_t*>(bytes.data()));
  if (input.ConsumeIntegralInRange(0, 15) == 0) {
    bytes[input.ConsumeIntegralInRange<size_t>(0, kHeaderSize - 1)] ^=
        input.ConsumeIntegral<char>();
  }
  return bytes + payload;
}

inline std::string frames(FuzzedDataProvider& input, std::initializer_list<const FrameType> usual) {
  std::string all;
  while (input.remaining_bytes() > 0 && all.size() < (256 << 10)) all += frame(input, usual);
  return all;
}

}  // namespace blockferry
