#include "tap/bpf/kernel_marks.h"

#include <algorithm>
#include <bit>

namespace blockferry {

void KernelMarks::mark(uint64_t packed) {
  uint64_t first = packed >> BLOCK_WRITES_COUNT_BITS;
  uint64_t end = first + (packed & BLOCK_WRITES_COUNT_MASK);
  for (uint64_t block = first; block < end;) {
    uint64_t word = block / 64;
    uint64_t stop = std::min(end, (word + 1) * 64);
    uint64_t bits = stop - block == 64 ? ~0ull : ((1ull << (stop - block)) - 1) << block % 64;
    mark_word(word, bits);
    block = stop;
  }
}

// In the summary, too, when there were marks already: the kernel may be about to do so on another
// processor, and what is taken next has to have this one.
void KernelMarks::mark_word(uint64_t word, uint64_t bits) {
  if (word >= marks_.size()) return;
  marks_[word].fetch_or(bits);
  uint64_t group = word / BLOCK_WRITES_GROUP;
  summary_[group / 64].fetch_or(1ull << group % 64);
}

uint64_t KernelMarks::take(uint64_t from, std::vector<Taken>* taken) {
  taken->clear();
  for (; from < summary_.size() && taken->size() + kBelow <= notes_.size(); from++) {
    if (summary_[from].load() == 0) continue;
    for (uint64_t groups = summary_[from].exchange(0); groups != 0; groups &= groups - 1) {
      take_group(from * 64 + std::countr_zero(groups), taken);
    }
  }
  return from;
}

void KernelMarks::take_group(uint64_t group, std::vector<Taken>* taken) {
  uint64_t end = std::min<uint64_t>((group + 1) * BLOCK_WRITES_GROUP, marks_.size());
  for (uint64_t word = group * BLOCK_WRITES_GROUP; word < end; word++) {
    if (marks_[word].load() == 0) continue;
    notes_[taken->size()].store(word + 1, std::memory_order_relaxed);  // the exchange orders it
    taken->push_back({word, marks_[word].exchange(0)});
  }
}

void KernelMarks::kept(const std::vector<Taken>& taken) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (uint64_t i = 0; i < taken.size(); i++) notes_[i].store(0, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

// He may have cleared the summary and not the words below.
void KernelMarks::recover() {
  for (Word& note : notes_) {
    uint64_t word = note.load();
    if (word != 0) mark_word(word - 1, ~0ull);
    note.store(0);
  }
  for (Word& above : summary_) above.store(~0ull);
}

}  // namespace blockferry
