#include "tap/dm/watchdog.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tap/dm/delay.h"

namespace blockferry {

namespace {

constexpr int kStartMs = 20'000;

// In the folder of what this code is in: the addon, or a test.
std::string program_path() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&program_path), &info) == 0) return DmWatchdog::kProgram;
  std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + DmWatchdog::kProgram;
}

// In a session of its own: what ends this process from a terminal does not end it. Nothing of this
// process but the socket goes along.
int spawn(const std::string& path, const DmDevice& device, int socket, pid_t* process) {
  std::string number = device.number();
  char* const arguments[] = {const_cast<char*>(path.c_str()), number.data(), nullptr};
  char* const environment[] = {nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, socket, 0);
  posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addchdir_np(&actions, "/");
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  int error = posix_spawn(process, path.c_str(), &actions, &attributes, arguments, environment);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

void let_go_on(const DmDevice& device) {
  DmInfo info;
  if (device.info(&info).ok() && info.suspended) (void)device.resume();
}

void fence(const DmDevice& device) {
  DmTable table;
  if (!device.table(&table).ok()) return;
  uint64_t sectors = sectors_of(table);
  wipe(&table);
  // Stays suspended if it can't be done: nobody writes then, either.
  if (device.load({{0, sectors, "error", ""}}).ok()) (void)device.resume();
}

}  // namespace

Status DmWatchdog::start(const DmDevice& device, std::unique_ptr<DmWatchdog>* watchdog) {
  auto started = std::make_unique<DmWatchdog>();
  started->device_ = device;
  Status status = started->start_helper();
  if (status.ok()) *watchdog = std::move(started);
  return status;
}

DmWatchdog::~DmWatchdog() {
  (void)tell(DmWord::end);
  end_helper();
}

Status DmWatchdog::start_helper() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return Status::from_errno(errno, "make a pair of sockets");
  }
  socket_.reset(pair[0]);
  FileDescriptor other(pair[1]);
  std::string path = program_path();
  int error = spawn(path, device_, other.get(), &process_);
  other.reset();
  if (error != 0) return Status::from_errno(error, "start " + path);
  pollfd ready = {socket_.get(), POLLIN, 0};
  DmWord word = DmWord::end;
  bool there =
      poll(&ready, 1, kStartMs) == 1 && recv(ready.fd, &word, 1, 0) == 1 && word == DmWord::ready;
  return there ? Status{} : Status::failure(Code::io_error, path + " does not work");
}

void DmWatchdog::end_helper() {
  socket_.reset();
  if (process_ > 0) waitpid(process_, nullptr, 0);
  process_ = -1;
}

Status DmWatchdog::tell(DmWord word) {
  if (send(socket_.get(), &word, 1, MSG_NOSIGNAL) == 1) return {};
  return Status::from_errno(errno, "tell the watchdog of the dm tap");
}

Status DmWatchdog::arm() {
  std::lock_guard lock(mutex_);
  Status status = tell(DmWord::arm);
  if (status.ok()) return status;
  end_helper();
  status = start_helper();
  if (status.ok() && fences_) status = tell(DmWord::fence_at_death);
  if (status.ok() && lifts_) status = tell(DmWord::lift_delay_at_death);
  return status.ok() ? tell(DmWord::arm) : status;
}

void DmWatchdog::disarm() {
  std::lock_guard lock(mutex_);
  (void)tell(DmWord::disarm);
}

void DmWatchdog::show_life() {
  std::lock_guard lock(mutex_);
  (void)tell(DmWord::alive);
}

Status DmWatchdog::fence_at_death(bool on) {
  std::lock_guard lock(mutex_);
  fences_ = on;
  return tell(on ? DmWord::fence_at_death : DmWord::resume_at_death);
}

Status DmWatchdog::lift_delay_at_death(bool on) {
  std::lock_guard lock(mutex_);
  lifts_ = on;
  return tell(on ? DmWord::lift_delay_at_death : DmWord::keep_delay_at_death);
}

void DmWatchdog::leave_it_to_helper() {
  std::lock_guard lock(mutex_);
  end_helper();
}

void stand_by(const DmDevice& device, int socket) {
  bool armed = false, fences = false, lifts = false;
  for (;;) {
    pollfd told = {socket, POLLIN, 0};
    int count = poll(&told, 1, armed && !fences ? DmWatchdog::kLimitMs : -1);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) {
      let_go_on(device);  // and still armed: it may only be about to be suspended
      continue;
    }
    DmWord word = DmWord::alive;
    if (recv(socket, &word, 1, 0) <= 0) break;
    switch (word) {
      case DmWord::end: return;
      case DmWord::arm: armed = true; break;
      case DmWord::disarm: armed = false; break;
      case DmWord::fence_at_death: fences = true; break;
      case DmWord::resume_at_death: fences = false; break;
      case DmWord::lift_delay_at_death: lifts = true; break;
      case DmWord::keep_delay_at_death: lifts = false; break;
      case DmWord::alive:
      case DmWord::ready: break;
    }
  }
  if (fences) return fence(device);
  if (armed) let_go_on(device);
  if (lifts) (void)lift_delay(device);
}

}  // namespace blockferry
