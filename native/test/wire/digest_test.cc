// The destination's digest: what was expected against what is read again, with a disk that lies.
// sanitizers: address, thread
#include "wire/digest.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "disk/block_hash.h"
#include "test/check.h"
#include "wire/wire.h"

using namespace blockferry;

namespace {

constexpr uint32_t kBlock = 4096;
constexpr uint64_t kPerStripe = kStripe / kBlock;

std::vector<uint8_t> content_of(uint64_t block) {
  std::mt19937_64 random(block + 1);
  std::vector<uint8_t> bytes(kBlock);
  for (size_t i = 0; i < bytes.size(); i += 8) {
    uint64_t word = random();
    memcpy(&bytes[i], &word, 8);
  }
  return bytes;
}

// Writes `count` blocks to the origin as if they had come from the source.
void receive_blocks(Origin& origin, DestinationDigest& destination, SourceDigest& source,
                    BlockRange range) {
  for (uint64_t block = range.first; block < range.end(); block++) {
    std::vector<uint8_t> bytes = content_of(block);
    uint64_t hash;
    hash_blocks(bytes.data(), kBlock, kBlock, &hash);
    source.sent({block, 1}, &hash);
    destination.expect({block, 1}, &hash, 0);
    CHECK(origin.write(bytes.data(), block * kBlock, kBlock, false).ok());
  }
}

std::set<uint64_t> blocks_of(const std::vector<BlockRange>& ranges) {
  std::set<uint64_t> blocks;
  for (BlockRange range : ranges) {
    for (uint64_t block = range.first; block < range.end(); block++) {
      CHECK(blocks.insert(block).second);  // named once
    }
  }
  return blocks;
}

// Sizes below and above the one from which several threads verify.
void every_wrong_block_is_named(uint64_t stripes, unsigned seed) {
  uint64_t blocks = stripes * kPerStripe - 3;
  auto origin = make_memory_origin(blocks * kBlock);
  DestinationDigest destination(blocks * kBlock, kBlock, false);
  LazyWords hashes(blocks);
  SourceDigest source(hashes, false);
  receive_blocks(*origin, destination, source, {0, blocks});
  std::mt19937 random(seed);
  std::set<uint64_t> spoilt{0, std::min(kPerStripe, blocks) - 1, blocks - 1};
  for (int i = 0; i < 40; i++) spoilt.insert(random() % blocks);
  for (uint64_t block : spoilt) {
    uint8_t other = 0x5a;
    CHECK(origin->write(&other, block * kBlock + random() % kBlock, 1, false).ok());
  }
  std::atomic<bool> stop{false};
  std::vector<BlockRange> wrong;
  CHECK(destination.verify(*origin, 0, stop, &wrong).ok());
  // One byte in 256 was 0x5a already.
  std::set<uint64_t> named = blocks_of(wrong);
  for (uint64_t block : named) CHECK(spoilt.count(block) == 1);
  for (uint64_t block : spoilt) {
    std::vector<uint8_t> bytes(kBlock);
    CHECK(origin->read(bytes.data(), block * kBlock, kBlock).ok());
    CHECK((bytes != content_of(block)) == (named.count(block) == 1));
  }
  CHECK(destination.missing() == named.size() && destination.pending() == 0);
  CHECK(destination.value() != source.value());
  for (BlockRange range : wrong) receive_blocks(*origin, destination, source, range);
  wrong.clear();
  CHECK(destination.verify(*origin, 0, stop, &wrong).ok() && wrong.empty());
  CHECK(destination.missing() == 0 && destination.value() == source.value());
}

void stopping_ends_it() {
  uint64_t size = 8 * kStripe;
  auto origin = make_memory_origin(size);
  DestinationDigest destination(size, kBlock, true);
  std::atomic<bool> stop{true};
  std::vector<BlockRange> wrong;
  CHECK(destination.verify(*origin, 0, stop, &wrong).code == Code::closed);
  stop = false;
  CHECK(destination.verify(*origin, 0, stop, &wrong).ok() && wrong.empty());
  CHECK(destination.value() == 0 && destination.pending() == 0);
}

}  // namespace

int main() {
  unsigned seed = std::random_device()();
  fprintf(stderr, "seed %u\n", seed);
  RUN(every_wrong_block_is_named(1, seed));
  RUN(every_wrong_block_is_named(6, seed));
  RUN(stopping_ends_it());
}
