#include "disk/open_watch.h"

#include <sys/inotify.h>

#include <string>

namespace blockferry {

std::unique_ptr<OpenWatch> OpenWatch::on(int fd) {
  auto watch = std::make_unique<OpenWatch>();
  watch->events_.reset(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  std::string path = "/proc/self/fd/" + std::to_string(fd);
  bool watches = watch->events_.open() && inotify_add_watch(watch->events_.get(), path.c_str(),
                                                            IN_OPEN | IN_CLOSE_WRITE) >= 0;
  return watches ? std::move(watch) : nullptr;
}

// Without a name each event is as long as its head.
OpenWatch::Seen OpenWatch::seen() {
  Seen seen;
  inotify_event events[16];
  for (ssize_t got; (got = read(events_.get(), events, sizeof events)) > 0;) {
    for (size_t i = 0; i < static_cast<size_t>(got) / sizeof events[0]; i++) {
      bool lost = (events[i].mask & IN_Q_OVERFLOW) != 0;
      seen.opened |= lost || (events[i].mask & IN_OPEN) != 0;
      seen.written |= lost || (events[i].mask & IN_CLOSE_WRITE) != 0;
    }
  }
  return seen;
}

}  // namespace blockferry
