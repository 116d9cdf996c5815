#include "wire/digest.h"

#include <algorithm>
#include <future>

#include "base/aligned_buffer.h"
#include "disk/block_hash.h"
#include "wire/wire.h"

namespace blockferry {

namespace {

constexpr uint64_t kVerifyChunk = 256 << 10;  // what stays in a core's cache while it is hashed
// From so many bytes on, several threads verify.
constexpr uint64_t kMuchToVerify = 64 << 20;
constexpr size_t kVerifyThreads = 2;

}  // namespace

SourceDigest::SourceDigest(HashArray& hashes, bool count_in) : hashes_(hashes) {
  uint64_t sum = 0, blocks = count_in ? hashes_.size() : 0;
  for (uint64_t block = 0; (block = hashes_.zeroes_until({block, blocks - block})) < blocks;
       block++) {
    sum += digest_term(block, hashes_.get(block));
  }
  sum_ = sum;
}

void SourceDigest::sent(BlockRange range, const uint64_t* hashes) {
  uint64_t change = 0;
  for (uint64_t block = range.first; block < range.end(); block++) {
    if (hashes == nullptr) block = hashes_.zeroes_until({block, range.end() - block});
    if (block == range.end()) break;
    uint64_t before = hashes_.get(block);
    uint64_t hash = hashes ? hashes[block - range.first] : kZeroBlock;
    if (before == hash) continue;
    change += digest_term(block, hash) - digest_term(block, before);
    hashes_.set(block, hash);
  }
  if (change != 0) sum_.fetch_add(change);
}

DestinationDigest::DestinationDigest(uint64_t size, uint32_t block_size, bool blank)
    : blank_(blank),
      expected_((size + block_size - 1) / block_size),
      missing_(size, block_size),
      pending_{DirtyMap(size, block_size), DirtyMap(size, block_size)} {
  (blank ? pending_[0] : missing_).mark_all();
}

std::mutex& DestinationDigest::lock_of(uint64_t block) {
  return locks_[block / (kStripe / missing_.block_size()) % locks_.size()];
}

bool DestinationDigest::verified(uint64_t block) const {
  return !pending_[0].test(block) && !pending_[1].test(block) && !missing_.test(block);
}

void DestinationDigest::expect(BlockRange range, const uint64_t* hashes, unsigned generation) {
  std::lock_guard lock(lock_of(range.first));
  uint64_t gone = 0;
  for (uint64_t block = range.first; block < range.end(); block++) {
    if (hashes == nullptr) block = expected_.zeroes_until({block, range.end() - block});
    if (block == range.end()) break;
    uint64_t before = expected_.get(block);
    if (before != kZeroBlock && verified(block)) gone += digest_term(block, before);
    expected_.set(block, hashes ? hashes[block - range.first] : kZeroBlock);
  }
  sum_.fetch_sub(gone);
  missing_.clear_blocks(range);
  pending_[generation ^ 1].clear_blocks(range);
  pending_[generation].mark_blocks(range);
}

void DestinationDigest::found(BlockRange range, const uint64_t* hashes) {
  std::lock_guard lock(lock_of(range.first));
  for (uint64_t block = range.first; block < range.end(); block++) {
    if (hashes == nullptr) block = expected_.zeroes_until({block, range.end() - block});
    if (block == range.end()) break;
    if (missing_.test(block))
      expected_.set(block, hashes ? hashes[block - range.first] : kZeroBlock);
  }
  found_ = range.end();
}

bool DestinationDigest::confirm(BlockRange range, uint64_t check, uint64_t offset) {
  std::lock_guard lock(lock_of(range.first));
  if (range.end() > found_ || !missing_.covers(range)) return false;
  std::vector<uint64_t> hashes(range.count);
  uint64_t gained = 0;
  for (uint64_t i = 0; i < range.count; i++) {
    hashes[i] = expected_.get(range.first + i);
    gained += digest_term(range.first + i, hashes[i]);
  }
  if (check_of(hashes.data(), range.count, offset) != check) return false;
  missing_.clear_blocks(range);
  sum_.fetch_add(gained);
  return true;
}

bool DestinationDigest::confirm_zeroes(BlockRange range) {
  std::lock_guard lock(lock_of(range.first));
  if (range.end() > found_ || !missing_.covers(range) || !expected_.all_zero(range)) return false;
  missing_.clear_blocks(range);
  return true;
}

bool DestinationDigest::still_blank(BlockRange range) const {
  return blank_ && expected_.all_zero(range);
}

// Compares what was found with what is expected now, block by block; null `found` stands for zeroes.
void DestinationDigest::compare(BlockRange run, const uint64_t* found, unsigned generation,
                                std::vector<BlockRange>* wrong) {
  std::lock_guard lock(lock_of(run.first));
  if (found == nullptr && expected_.all_zero(run)) {
    pending_[generation].clear_blocks(run);
    return;
  }
  uint64_t gained = 0;
  bool all = pending_[generation].covers(run);
  if (all) pending_[generation].clear_blocks(run);
  for (uint64_t i = 0; i < run.count; i++) {
    uint64_t block = run.first + i;
    // Else a newer frame came.
    if (!all && pending_[generation].clear_blocks({block, 1}) == 0) continue;
    uint64_t hash = found ? found[i] : kZeroBlock;
    if (hash == expected_.get(block)) {
      gained += digest_term(block, hash);
      continue;
    }
    missing_.mark_blocks({block, 1});
    blank_ = false;
    if (!wrong->empty() && wrong->back().end() == block) {
      wrong->back().count++;
    } else {
      wrong->push_back({block, 1});
    }
  }
  sum_.fetch_add(gained);
}

// How many blocks at the start of the run are expected to be zeroes and lie in a hole. Asking costs a
// lock that the writers of the file need: only where it saves reading a chunk.
Status DestinationDigest::hole_in(Origin& origin, BlockRange run, uint64_t* blocks) {
  uint64_t block_size = missing_.block_size();
  uint64_t zeroes = expected_.zeroes_until(run) - run.first;
  *blocks = 0;
  if (zeroes < std::min(run.count, std::max<uint64_t>(kVerifyChunk / block_size, 1))) return {};
  uint64_t offset = run.first * block_size;
  uint64_t length = std::min(zeroes * block_size, missing_.size() - offset);
  uint64_t hole = 0;
  Status status = origin.hole_at(offset, length, &hole);
  if (status.ok()) *blocks = hole == length ? zeroes : hole / block_size;
  return status;
}

// `run`: at most what the buffer holds.
Status DestinationDigest::verify_run(Origin& origin, BlockRange run, unsigned generation,
                                     uint8_t* buffer, std::vector<uint64_t>& hashes,
                                     std::vector<BlockRange>* wrong) {
  uint64_t block_size = missing_.block_size();
  uint64_t offset = run.first * block_size;
  uint64_t length = std::min(run.count * block_size, missing_.size() - offset);
  Status status = origin.reread(buffer, offset, length);
  if (!status.ok()) return status;
  hash_blocks(buffer, length, static_cast<uint32_t>(block_size), hashes.data());
  compare(run, hashes.data(), generation, wrong);
  return {};
}

// The runs whose stripe is `part` modulo `parts`.
Status DestinationDigest::verify_part(Origin& origin, unsigned generation, Part* part,
                                      uint64_t parts, const std::atomic<bool>& stop) {
  uint64_t block_size = missing_.block_size();
  uint64_t limit = std::max<uint64_t>(kVerifyChunk / block_size, 1);
  uint64_t stripe_blocks = kStripe / block_size;
  auto buffer = make_aligned_buffer(limit * block_size);
  std::vector<uint64_t> hashes(limit);
  uint64_t from = 0;
  while (auto run = pending_[generation].find(from, blocks(), stripe_blocks)) {
    if (stop.load()) return Status::failure(Code::closed, "the receiver was closed");
    uint64_t stripe = run->first / stripe_blocks;
    uint64_t stripe_end = (stripe + 1) * stripe_blocks;
    from = stripe_end;
    if (stripe % parts != part->index) continue;
    run->count = std::min(run->count, stripe_end - run->first);
    uint64_t hole = 0;
    Status status = hole_in(origin, *run, &hole);
    run->count = std::min(run->count, hole != 0 ? hole : limit);
    if (hole != 0) {
      compare(*run, nullptr, generation, &part->wrong);
    } else if (status.ok()) {
      status = verify_run(origin, *run, generation, buffer.get(), hashes, &part->wrong);
    }
    if (!status.ok()) return status;
    from = run->end();
  }
  return {};
}

// While data streams in, the threads take turns with those that receive; when that has ended they
// have the processor to themselves.
Status DestinationDigest::verify(Origin& origin, unsigned generation, const std::atomic<bool>& stop,
                                 std::vector<BlockRange>* wrong) {
  bool much = pending_[generation].count() * missing_.block_size() >= kMuchToVerify;
  std::vector<Part> parts(much ? kVerifyThreads : 1);
  auto verify_one = [&](Part* part) {
    part->status = verify_part(origin, generation, part, parts.size(), stop);
  };
  std::vector<std::future<void>> others;
  for (size_t i = 0; i < parts.size(); i++) parts[i].index = i;
  for (size_t i = 1; i < parts.size(); i++) {
    // Without a thread to be had, it is done when it is waited for.
    auto policy = std::launch::async | std::launch::deferred;
    others.push_back(std::async(policy, verify_one, &parts[i]));
  }
  verify_one(&parts[0]);
  for (auto& other : others) other.get();
  Status status;
  for (Part& part : parts) {
    wrong->insert(wrong->end(), part.wrong.begin(), part.wrong.end());
    if (status.ok()) status = std::move(part.status);
  }
  return status;
}

void DestinationDigest::trust(unsigned generation) {
  uint64_t from = 0, stripe_blocks = kStripe / missing_.block_size();
  while (auto run = pending_[generation].find(from, blocks(), stripe_blocks)) {
    run->count = std::min(run->count, stripe_blocks - run->first % stripe_blocks);
    std::lock_guard lock(lock_of(run->first));
    uint64_t gained = 0;
    for (uint64_t block = run->first; block < run->end(); block++) {
      block = expected_.zeroes_until({block, run->end() - block});
      if (block == run->end() || !pending_[generation].test(block)) continue;
      gained += digest_term(block, expected_.get(block));
    }
    pending_[generation].clear_blocks(*run);
    sum_.fetch_add(gained);
    from = run->end();
  }
}

}  // namespace blockferry
