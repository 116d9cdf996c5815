// The two digests of a disk, kept up to date block by block, so that the check inside the
// downtime costs only the residual.
//
// The source's is the sum over the blocks as they were sent. The destination's is the sum over
// the blocks as they were read again from its device after a flush, each compared with the hash
// that came on the wire. A hash is 8 bytes a block: 2 MiB per GiB of data at 4 KiB blocks,
// nothing for zeroes, a run
// of which is received, found and compared as one.
#pragma once

#include <array>
#include <atomic>
#include <mutex>
#include <vector>

#include "disk/origin.h"
#include "tracking/dirty_map.h"
#include "tracking/hash_array.h"

namespace blockferry {

class SourceDigest {
 public:
  // `hashes`, by block, outlive this; `count_in` them, when they may be others than zeroes.
  SourceDigest(HashArray& hashes, bool count_in);
  // The blocks as they are sent now; null `hashes` stand for zeroes. One thread per block at a
  // time.
  void sent(BlockRange range, const uint64_t* hashes);
  // All of them were sent as zeroes last, or never sent.
  bool all_zero(BlockRange range) const { return hashes_.all_zero(range); }
  uint64_t value() const { return sum_.load(); }

 private:
  HashArray& hashes_;
  std::atomic<uint64_t> sum_{0};
};

// A block at the destination is one of:
//   missing   never received (or found wrong): the disk is not complete
//   pending   received, in the generation of the checkpoint that will cover it
//   verified  read again after that checkpoint's flush, and equal: counted in the digest
// Generations alternate with the marks of a stream; the next checkpoint begins only when the
// last one is verified, so two suffice.
class DestinationDigest {
 public:
  // A blank origin holds zeroes: its blocks begin as pending zeroes, not as missing.
  DestinationDigest(uint64_t size, uint32_t block_size, bool blank);

  uint64_t blocks() const { return missing_.blocks(); }
  // To be called before the blocks are written; null `hashes` stand for zeroes. The range lies
  // inside one stripe.
  void expect(BlockRange range, const uint64_t* hashes, unsigned generation);
  // What the origin was found to hold, from its start on, range after range: the hashes of missing blocks are remembered for confirm(); null
  // `hashes` stand for zeroes.
  void found(BlockRange range, const uint64_t* hashes);
  // The source has the same there as was found: the blocks count as verified. False when they are
  // not missing, nothing was found there, or their hashes have another check (check_of() with `offset` as its seed).
  bool confirm(BlockRange range, uint64_t check, uint64_t offset);
  // The same where it has zeroes.
  bool confirm_zeroes(BlockRange range);
  // Nothing but zeroes was ever expected there, on an origin that was blank.
  bool still_blank(BlockRange range) const;
  // Reads the generation's pending blocks again and compares. Blocks that differ become missing
  // and are appended to `wrong`. Blocks that a newer frame overwrites meanwhile are left to the
  // checkpoint of that frame. An error only if reading fails or `stop` became true.
  Status verify(Origin& origin, unsigned generation, const std::atomic<bool>& stop,
                std::vector<BlockRange>* wrong);

  // Counts the generation's pending blocks as verified without reading them.
  void trust(unsigned generation);

  uint64_t missing() const { return missing_.count(); }
  uint64_t pending() const { return pending_[0].count() + pending_[1].count(); }
  uint64_t value() const { return sum_.load(); }

 private:
  std::mutex& lock_of(uint64_t block);
  bool verified(uint64_t block) const;
  // What one of the threads that verify found.
  struct Part {
    size_t index = 0;
    Status status;
    std::vector<BlockRange> wrong;
  };
  Status verify_part(Origin& origin, unsigned generation, Part* part, uint64_t parts,
                     const std::atomic<bool>& stop);
  Status hole_in(Origin& origin, BlockRange run, uint64_t* blocks);
  Status verify_run(Origin& origin, BlockRange run, unsigned generation, uint8_t* buffer,
                    std::vector<uint64_t>& hashes, std::vector<BlockRange>* wrong);
  void compare(BlockRange run, const uint64_t* found, unsigned generation,
               std::vector<BlockRange>* wrong);

  std::atomic<bool> blank_;  // until a block is found wrong: then nothing is taken for granted
  HashArray expected_;
  std::atomic<uint64_t> found_{0};  // the blocks before it were looked at
  DirtyMap missing_;
  std::array<DirtyMap, 2> pending_;
  std::atomic<uint64_t> sum_{0};
  std::array<std::mutex, 256> locks_;  // by stripe: a frame against the verifier
};

}  // namespace blockferry
