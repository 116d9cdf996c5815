// A lack of memory ends what wanted it, not the process: each thread of ours runs what it does inside
// contain(), and sees to what others wait for outside of it.
#pragma once

#include <chrono>
#include <new>
#include <thread>

#include "base/status.h"

namespace blockferry {

// What `work` answers; Code::no_memory when there was none for it.
template <typename Work>
Status contain(Work&& work) {
  try {
    return work();
  } catch (const std::bad_alloc&) {
    return Status::failure(Code::no_memory, "out of memory");  // no longer than a string's own room
  }
}

// For what has to be told: as often as it takes until there is memory for it.
template <typename Tell>
void insist(Tell&& tell) {
  for (;;) {
    try {
      return tell();
    } catch (const std::bad_alloc&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

}  // namespace blockferry
