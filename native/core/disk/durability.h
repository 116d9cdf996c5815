// What makes the content of a file or device durable: the one place that asks the kernel for it.
//
// The kernel tells of a page that it could not write back once for each open file description, to
// whichever call that syncs comes first, and forgets it then: the page counts as clean. So nobody may
// take a report that is another's:
//
// - Flushes are joined. One fdatasync() runs at a time; whoever asks meanwhile shares the next one, as
//   the one that runs may have begun before his write had ended. All who share it get its answer.
// - Where a page can be gone an answer that was bad stays bad: the data of somebody who was told that
//   his write is done is lost, and no later success brings it back. Past the page cache each flush
//   answers for itself.
// - A write that is to be durable has an open file description of its own while it is under way. It
//   takes no report from a flush, nor from another such write.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/file_descriptor.h"

namespace blockferry {

// Another open file description of what `fd` has open; not open when none can be had.
FileDescriptor reopen(int fd, int flags);

// A file's name is durable with its folder: an errno, or 0.
int make_name_durable(int file, const std::string& path);

class Durability {
 public:
  // Before anything else; `fd` stays open as long as this lives. `cached`: what is written may wait
  // in the page cache.
  void begin(int fd, bool cached);
  // Something waits in the page cache from now on.
  void cached_too() { cached_ = true; }

  // Everything that was written when this was called is on stable storage when it answers 0; else an
  // errno. From any thread.
  int flush();

  // Like pwrite(), and what it has written is on stable storage. From any thread.
  ssize_t write(const void* bytes, uint64_t length, uint64_t offset);

 private:
  // Those who share one fdatasync().
  struct Round {
    bool ended = false;
    int error = 0;
  };
  int sync();
  FileDescriptor take();
  void give_back(FileDescriptor descriptor);
  ssize_t write_and_flush(const void* bytes, uint64_t length, uint64_t offset);

  int fd_ = -1;
  std::atomic<bool> cached_{true};
  std::atomic<int> lost_{0};  // the error, once a page can be gone

  std::mutex mutex_;  // with synced_: what follows
  std::condition_variable synced_, given_back_;
  std::shared_ptr<Round> running_, next_;
  std::vector<FileDescriptor> idle_;
  size_t opened_ = 0;  // idle or in use
};

}  // namespace blockferry
