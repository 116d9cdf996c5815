// The destination's digest: what was expected against what is read again, with a disk that lies.
// sanitizers: address, thread
#include "wire/digest.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>
#include <set>
#include <vector>

#include "disk/block_hash.h"
#include "test/check.h"
#include "test/nbd/test_origin.h"
#include "test/resident.h"
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
  HashArray hashes(blocks);
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

// Runs of zeroes are found and compared as one, and what is no zeroes in them is found all the same.
void zeroes_cost_nothing() {
  constexpr uint64_t kHuge = 1ull << 43;
  long before = resident_kib();
  auto origin = make_null_origin(kHuge);
  DestinationDigest destination(kHuge, kBlock, true);
  HashArray hashes(kHuge / kBlock);
  SourceDigest source(hashes, false);
  source.sent({0, hashes.size()}, nullptr);
  uint64_t hash = 4711;
  for (uint64_t block : {5ull, 1ull << 30, (1ull << 31) - 1}) {
    source.sent({block, 1}, &hash);
    destination.expect({block, 1}, &hash, 0);  // and it holds zeroes
  }
  CHECK(!source.all_zero({0, 6}) && source.all_zero({6, 1000}));
  std::atomic<bool> stop{false};
  std::vector<BlockRange> wrong;
  CHECK(destination.verify(*origin, 0, stop, &wrong).ok());
  CHECK(blocks_of(wrong) == (std::set<uint64_t>{5, 1ull << 30, (1ull << 31) - 1}));
  CHECK(destination.pending() == 0 && destination.missing() == 3 && destination.value() == 0);
  for (uint64_t block : {5ull, 1ull << 30, (1ull << 31) - 1}) {
    uint64_t from = block / kPerStripe * kPerStripe;
    source.sent({from, kPerStripe}, nullptr);
    destination.expect({from, kPerStripe}, nullptr, 1);
  }
  wrong.clear();
  CHECK(destination.verify(*origin, 1, stop, &wrong).ok() && wrong.empty());
  CHECK(destination.missing() == 0 && destination.value() == 0 && source.value() == 0);
  CHECK(grew_less(before, 32 << 10));
}

// Something happens while it is looked at.
class HookedOrigin : public TestOrigin {
 public:
  HookedOrigin(bool holes, std::function<void()> hook)
      : TestOrigin(kStripe), holes_(holes), hook_(std::move(hook)) {}
  Status hole_at(uint64_t, uint64_t length, uint64_t* hole) override {
    *hole = holes_ ? length : 0;
    if (holes_) tell();
    return {};
  }
  Status reread(void* buffer, uint64_t offset, uint64_t length) override {
    Status status = TestOrigin::read(buffer, offset, length);
    tell();
    return status;
  }

 private:
  void tell() {
    if (auto hook = std::exchange(hook_, nullptr)) hook();
  }
  bool holes_;
  std::function<void()> hook_;
};

// A run of zeroes is being compared when one of its blocks comes anew.
void a_newer_frame_stays(bool hole) {
  DestinationDigest destination(kStripe, kBlock, true);
  uint64_t hash = 4711;
  HookedOrigin origin(hole, [&] { destination.expect({9, 1}, &hash, 1); });
  std::atomic<bool> stop{false};
  std::vector<BlockRange> wrong;
  CHECK(destination.verify(origin, 0, stop, &wrong).ok() && wrong.empty());
  CHECK(destination.pending() == 1 && destination.missing() == 0);
  CHECK(destination.verify(origin, 1, stop, &wrong).ok());
  CHECK(blocks_of(wrong) == std::set<uint64_t>{9});
}

// The same in the generation that is being compared: it is not zeroes that are expected any more.
void what_changed_is_compared_with_what_it_is_now() {
  DestinationDigest destination(kStripe, kBlock, true);
  uint64_t hash = 4711;
  HookedOrigin origin(true, [&] { destination.expect({9, 1}, &hash, 0); });
  std::atomic<bool> stop{false};
  std::vector<BlockRange> wrong;
  CHECK(destination.verify(origin, 0, stop, &wrong).ok());
  CHECK(blocks_of(wrong) == std::set<uint64_t>{9} && destination.missing() == 1);
}

// What an inventory found, in the order in which it is told.
void only_what_was_found_is_confirmed() {
  DestinationDigest destination(4 * kStripe, kBlock, false);
  std::vector<uint64_t> hashes(kPerStripe, 7);
  CHECK(!destination.confirm_zeroes({0, kPerStripe}));
  destination.found({0, kPerStripe}, nullptr);
  CHECK(!destination.confirm_zeroes({0, kPerStripe + 1}));
  CHECK(destination.confirm_zeroes({0, kPerStripe}) &&
        !destination.confirm_zeroes({0, kPerStripe}));
  destination.found({kPerStripe, kPerStripe}, hashes.data());
  CHECK(!destination.confirm_zeroes({kPerStripe, 1}));
  CHECK(!destination.confirm({kPerStripe, 2}, check_of(hashes.data(), 3, 0), 0));
  CHECK(destination.confirm({kPerStripe, 2}, check_of(hashes.data(), 2, 0), 0));
  CHECK(destination.missing() == 3 * kPerStripe - 2);
  CHECK(destination.value() == digest_term(kPerStripe, 7) + digest_term(kPerStripe + 1, 7));
}

void what_is_trusted_counts() {
  DestinationDigest destination(2 * kStripe, kBlock, true);
  uint64_t hash = 4711;
  destination.expect({3, 1}, &hash, 0);
  destination.expect({4, 1}, &hash, 1);
  destination.trust(0);
  CHECK(destination.value() == digest_term(3, hash) && destination.pending() == 1);
  destination.trust(1);
  CHECK(destination.value() == digest_term(3, hash) + digest_term(4, hash) &&
        destination.pending() == 0);
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
  RUN(zeroes_cost_nothing());
  RUN(a_newer_frame_stays(true));
  RUN(a_newer_frame_stays(false));
  RUN(what_changed_is_compared_with_what_it_is_now());
  RUN(only_what_was_found_is_confirmed());
  RUN(what_is_trusted_counts());
  RUN(stopping_ends_it());
}
