#include "disk/durability.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <utility>

namespace blockferry {

namespace {

constexpr size_t kMostOpen = 16;  // as many as one queue has threads

}  // namespace

FileDescriptor reopen(int fd, int flags) {
  return FileDescriptor(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), flags | O_CLOEXEC));
}

// Some file systems have nothing to do for that (EINVAL).
int make_name_durable(int file, const std::string& path) {
  std::string folder = std::filesystem::path(path).parent_path();
  FileDescriptor fd(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.open() && errno == EACCES)
    return syncfs(file) == 0 ? 0 : errno;  // one that can't be listed
  return fd.open() && (fsync(fd.get()) == 0 || errno == EINVAL) ? 0 : errno;
}

void Durability::begin(int fd, bool cached) {
  fd_ = fd;
  cached_ = cached;
  idle_.reserve(kMostOpen);
}

int Durability::flush() {
  std::unique_lock lock(mutex_);
  if (!next_) next_ = std::make_shared<Round>();
  auto round = next_;
  while (!round->ended) {
    if (running_) {
      synced_.wait(lock);
      continue;
    }
    running_ = std::exchange(next_, nullptr);
    lock.unlock();
    int error = sync();
    lock.lock();
    running_.reset();
    round->error = error;
    round->ended = true;
    synced_.notify_all();
  }
  return round->error;
}

// One at a time.
int Durability::sync() {
  if (int lost = lost_.load()) return lost;
  int error = 0;
  do {
    error = fdatasync(fd_) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (cached_) lost_.store(error);
  return error;
}

ssize_t Durability::write(const void* bytes, uint64_t length, uint64_t offset) {
  FileDescriptor own = take();
  if (!own.open()) return write_and_flush(bytes, length, offset);
  iovec part{const_cast<void*>(bytes), length};
  ssize_t put = pwritev2(own.get(), &part, 1, static_cast<off_t>(offset), RWF_DSYNC);
  int error = errno;
  give_back(std::move(own));
  errno = error;
  return put;
}

// Without a descriptor to be had.
ssize_t Durability::write_and_flush(const void* bytes, uint64_t length, uint64_t offset) {
  ssize_t put = pwrite(fd_, bytes, length, static_cast<off_t>(offset));
  if (put < 0) return put;
  errno = flush();
  return errno == 0 ? put : -1;
}

// What was opened before is told of the same pages, and of more. None is closed before the file is: to who
// watches it that would look like another's write (open_watch.h).
FileDescriptor Durability::take() {
  {
    std::unique_lock lock(mutex_);
    given_back_.wait(lock, [this] { return !idle_.empty() || opened_ < kMostOpen; });
    if (!idle_.empty()) {
      FileDescriptor descriptor = std::move(idle_.back());
      idle_.pop_back();
      return descriptor;
    }
    opened_++;
  }
  FileDescriptor own = reopen(fd_, O_WRONLY | (fcntl(fd_, F_GETFL) & O_DIRECT));
  if (own.open()) return own;
  std::lock_guard lock(mutex_);
  opened_--;
  given_back_.notify_one();
  return own;
}

void Durability::give_back(FileDescriptor descriptor) {
  std::lock_guard lock(mutex_);
  idle_.push_back(std::move(descriptor));
  given_back_.notify_one();
}

}  // namespace blockferry
