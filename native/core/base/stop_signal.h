// Tells threads that wait for something that it is over, once and for all.
#pragma once

#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <cerrno>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

class StopSignal {
 public:
  // Before anybody waits; again does nothing. Code::no_memory when no descriptor is to be had.
  Status open() {
    if (!event_.open()) event_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return event_.open() ? Status{} : Status::from_errno(errno, "make an event");
  }
  // From any thread.
  void raise() {
    raised_ = true;
    if (event_.open()) eventfd_write(event_.get(), 1);
  }
  bool raised() const { return raised_; }
  // Whether it was raised within the time.
  bool wait(int timeout_ms) const {
    pollfd own{event_.get(), POLLIN, 0};
    return poll(&own, 1, timeout_ms) > 0;
  }
  // Waits for events of another descriptor and answers them; 0 at the time's end (-1: never) and
  // when it was raised.
  short wait_for(int other, short events, int timeout_ms) const {
    pollfd waits[2] = {{other, events, 0}, {event_.get(), POLLIN, 0}};
    bool over = poll(waits, 2, timeout_ms) <= 0 || waits[1].revents != 0;
    return over ? short{0} : waits[0].revents;
  }
  // When nobody waits any more; it stays raised.
  void close() { event_.reset(); }

 private:
  std::atomic<bool> raised_{false};
  FileDescriptor event_;
};

}  // namespace blockferry
