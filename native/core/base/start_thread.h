// Starts a thread, which can fail: the machine, or our share of it, has no more to give. That must
// end a connection or a session, not the process. Nor must what it runs throw (out_of_memory.h).
#pragma once

#include <system_error>
#include <thread>
#include <utility>

#include "base/out_of_memory.h"
#include "base/status.h"

namespace blockferry {

template <typename Run>
Status start_thread(std::thread* thread, Run&& run) {
  return contain([&]() -> Status {
    try {
      *thread = std::thread(std::forward<Run>(run));
      return {};
    } catch (const std::system_error& error) {
      return Status::failure(Code::no_memory, "start a thread", error.code().value());
    }
  });
}

}  // namespace blockferry
