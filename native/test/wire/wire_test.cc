// Frames: what goes in comes out, and no byte can be changed unnoticed.
#include "wire/wire.h"

#include <cstring>
#include <random>
#include <vector>

#include "disk/block_hash.h"
#include "test/check.h"
#include "wire/compressor.h"

using namespace blockferry;

static FrameHeader sample_header() {
  FrameHeader header;
  header.type = FrameType::data;
  header.flags = kFlagZstd;
  header.disk = 3;
  header.payload = 1000;
  header.offset = 1ull << 40;
  header.length = 8192;
  header.check = 0x123456789abcdefull;
  return header;
}

static void check_round_trip() {
  uint8_t bytes[kHeaderSize];
  FrameHeader in = sample_header(), out;
  encode_header(in, bytes);
  CHECK(decode_header(bytes, &out).ok());
  CHECK(out.type == in.type && out.flags == in.flags && out.disk == in.disk);
  CHECK(out.payload == in.payload && out.offset == in.offset);
  CHECK(out.length == in.length && out.check == in.check);
}

static void check_every_bit() {
  uint8_t bytes[kHeaderSize];
  encode_header(sample_header(), bytes);
  for (unsigned bit = 0; bit < kHeaderSize * 8; bit++) {
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
    FrameHeader out;
    Code code = decode_header(bytes, &out).code;
    if (bit / 8 < 4) CHECK(code == Code::protocol);
    if (bit / 8 == 4) CHECK(code == Code::version);
    if (bit / 8 > 4) CHECK(code == Code::checksum);
    bytes[bit / 8] ^= static_cast<uint8_t>(1u << (bit % 8));
  }
}

static void check_limits() {
  auto refused = [](FrameHeader header) {
    uint8_t bytes[kHeaderSize];
    FrameHeader out;
    encode_header(header, bytes);
    return decode_header(bytes, &out).code == Code::protocol;
  };
  FrameHeader header = sample_header();
  header.payload = kMaxExtent + 1;
  CHECK(refused(header));
  header = sample_header();
  header.payload = 0;
  CHECK(refused(header));
  header = sample_header();
  header.length = kMaxExtent + 1;
  CHECK(refused(header));
  header = sample_header();
  header.flags = 0;  // not compressed, but payload and content differ in length
  CHECK(refused(header));
  header = sample_header();
  header.type = FrameType::zero;
  CHECK(refused(header));
  header.payload = 0;
  CHECK(!refused(header));
  header.length = kStripe + 1;
  CHECK(refused(header));
  for (auto [type, limit] :
       {std::pair{FrameType::hello, kMaxHello}, {FrameType::control, kMaxControl}}) {
    header = FrameHeader{};
    header.type = type;
    header.payload = limit;
    CHECK(!refused(header));
    header.payload = limit + 1;
    CHECK(refused(header));
  }
  header = FrameHeader{};
  header.type = static_cast<FrameType>(99);
  CHECK(refused(header));
}

static void check_hashes() {
  std::vector<uint8_t> bytes(3 * 4096 + 512, 0);
  std::vector<uint64_t> hashes(4);
  hash_blocks(bytes.data(), bytes.size(), 4096, hashes.data());
  for (uint64_t hash : hashes) CHECK(hash == kZeroBlock);
  // Any single bit changes the hash of its block, and of no other.
  std::mt19937 random(1);
  for (int i = 0; i < 500; i++) {
    size_t at = random() % bytes.size();
    bytes[at] ^= static_cast<uint8_t>(1u << (random() % 8));
    std::vector<uint64_t> now(4);
    hash_blocks(bytes.data(), bytes.size(), 4096, now.data());
    for (size_t block = 0; block < 4; block++)
      CHECK((now[block] != hashes[block]) == (block == at / 4096));
    hashes = now;
  }
  // The same block counts differently at another place, and zeroes not at all.
  CHECK(digest_term(1, hashes[0]) != digest_term(2, hashes[0]));
  CHECK(digest_term(5, kZeroBlock) == 0);
  CHECK(check_of(hashes.data(), 4, 0) != check_of(hashes.data(), 4, 4096));
  // Every length and place of the one byte that is not zero.
  for (size_t length = 1; length < 70; length++) {
    for (size_t at = 0; at < length; at++) {
      std::vector<uint8_t> part(length, 0);
      CHECK(is_zero(part.data(), length));
      part[at] = 1;
      CHECK(!is_zero(part.data(), length));
    }
  }
}

static void check_compression() {
  std::vector<uint8_t> text(1 << 16), back(1 << 16), random_bytes(1 << 16);
  std::mt19937 random(2);
  for (size_t i = 0; i < text.size(); i++) text[i] = static_cast<uint8_t>("blockferry"[i % 10]);
  for (auto& byte : random_bytes) byte = static_cast<uint8_t>(random());
  Compressor compressor;
  Decompressor decompressor;
  uint32_t size = 0;
  const uint8_t* packed = compressor.compress(text.data(), text.size(), 1, &size);
  CHECK(packed != nullptr && size < text.size() / 10);
  CHECK(decompressor.decompress(packed, size, back.data(), back.size()).ok());
  CHECK(back == text);
  CHECK(compressor.compress(random_bytes.data(), random_bytes.size(), 1, &size) == nullptr);
  // A payload that is cut, changed, or of another length is refused, or caught by the hashes.
  size = 0;
  packed = compressor.compress(text.data(), text.size(), 1, &size);
  CHECK(!decompressor.decompress(packed, size - 1, back.data(), back.size()).ok());
  CHECK(!decompressor.decompress(packed, size, back.data(), back.size() - 1).ok());
  CHECK(!decompressor.decompress(random_bytes.data(), 500, back.data(), back.size()).ok());
}

int main() {
  check_round_trip();
  puts("ok headers come back");
  check_every_bit();
  puts("ok every changed bit of a header is noticed");
  check_limits();
  puts("ok lengths over their limits are refused");
  check_hashes();
  puts("ok block hashes");
  check_compression();
  puts("ok compression");
}
