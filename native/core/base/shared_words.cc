#include "base/shared_words.h"

#include <sys/mman.h>

#include <cerrno>

namespace blockferry {

SharedWords::~SharedWords() {
  if (!words_.empty()) munmap(words_.data(), words_.size_bytes());
}

Status SharedWords::map(int fd, uint64_t count) {
  void* memory = mmap(nullptr, count * sizeof(Word), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return Status::from_errno(errno, "map what the kernel shares");
  words_ = {static_cast<Word*>(memory), count};
  return {};
}

}  // namespace blockferry
