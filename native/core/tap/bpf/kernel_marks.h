// The marks of the kernel's program (program/), and how they are taken from there: a bit per
// block, and above them a summary, a bit per group of words. On a disk of 1 TiB there are 4 Mi
// words, and 1024 words of summary: what is written little costs little.
//
// The kernel sets the bit in the word, then, if the word was empty, that in the summary; who takes
// clears the summary, then the words. So a word with marks has its bit in the summary, or will have
// it at once, or is about to be taken. A bit in the summary over an empty group costs one look.
//
// Who takes marks may be killed at any moment, and the shared memory may outlive him (pins.h).
// So before a word is cleared its number is put down among the notes, and it stays there until all
// that was in it has got where it outlives the process. Whoever comes next calls recover() first.
#pragma once

#include <span>
#include <vector>

#include "base/lazy_words.h"
#include "tap/bpf/program/block_writes.h"

namespace blockferry {

class KernelMarks {
 public:
  struct Taken {
    uint64_t word, bits;
  };

  // All of it outlives this: BLOCK_WRITES_NOTES notes, summary_for(marks.size()) of summary.
  KernelMarks(std::span<Word> marks, std::span<Word> summary, std::span<Word> notes)
      : marks_(marks), summary_(summary), notes_(notes) {}
  static uint64_t summary_for(uint64_t words) { return (words + kBelow - 1) / kBelow; }

  // The blocks of a write, packed as in program/block_writes.h, and take() finds them. From any thread.
  void mark(uint64_t packed);

  // One thread at a time from here on.
  // Takes marks from the summary's word `from` on, as many as there is room for notes, and answers
  // where to go on: at summary_words() nothing is left.
  uint64_t take(uint64_t from, std::vector<Taken>* taken);
  uint64_t summary_words() const { return summary_.size(); }
  // What take() gave last is where it outlives us.
  void kept(const std::vector<Taken>& taken);
  // Goes on after somebody who was killed: marks all of a word that he may have cleared in vain.
  void recover();

 private:
  static constexpr uint64_t kBelow = 64 * BLOCK_WRITES_GROUP;  // words below one of the summary
  void take_group(uint64_t group, std::vector<Taken>* taken);
  void mark_word(uint64_t word, uint64_t bits);

  std::span<Word> marks_, summary_, notes_;
};

}  // namespace blockferry
