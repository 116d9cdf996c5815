// Who is found that can write a disk: other processes, by their files and their mappings.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "../core/disk_users.h"
#include "../core/file_descriptor.h"
#include "../core/xen_backend.h"
#include "check.h"
#include "temporary_folder.h"

using namespace blockferry;

namespace {

const TemporaryFolder folder;
const std::string image = folder / "image";

// Another process, which has done something and lives until this goes.
class Other {
 public:
  explicit Other(const std::function<bool()>& body) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    FileDescriptor ours(ends[0]), theirs(ends[1]);
    pid_ = fork();
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      char ready = body();
      if (write(theirs.get(), &ready, 1) == 1) pause();
      _exit(0);
    }
    char ready = 0;
    CHECK(read(ours.get(), &ready, 1) == 1 && ready == 1);
  }
  ~Other() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Other(const Other&) = delete;

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

Status check() {
  FileDescriptor fd(open(image.c_str(), O_RDONLY | O_CLOEXEC));
  CHECK(fd.open());
  return check_no_writer(fd.get(), image);
}

void the_own_process_is_no_other() {
  FileDescriptor fd(open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(fd.open() && ftruncate(fd.get(), 1 << 20) == 0);
  CHECK(check().ok());
}

void who_reads() {
  Other other([] { return open(image.c_str(), O_RDONLY) >= 0; });
  CHECK(check().ok());
}

void who_writes() {
  for (int flags : {O_RDWR, O_WRONLY, O_WRONLY | O_APPEND}) {
    Other other([flags] {
      prctl(PR_SET_NAME, "a\nwriter");
      return open(image.c_str(), flags) >= 0;
    });
    Status status = check();
    CHECK(status.code == Code::busy);
    CHECK(status.operation == image + " is in use by a?writer (pid " + std::to_string(other.pid()) + ")");
  }
  CHECK(check().ok());
}

bool map_and_close(int protection, int kind) {
  FileDescriptor fd(open(image.c_str(), O_RDWR | O_CLOEXEC));
  return mmap(nullptr, 4096, protection, kind, fd.get(), 0) != MAP_FAILED;
}

void who_has_mapped_it() {
  {
    Other other([] { return map_and_close(PROT_READ | PROT_WRITE, MAP_SHARED); });
    CHECK(check().code == Code::busy);
  }
  Other other([] { return map_and_close(PROT_READ | PROT_WRITE, MAP_PRIVATE); });
  CHECK(check().ok());
}

// Its parent stands still in the kernel until it ends.
void stand_still() {
  if (vfork() != 0) return;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) pause();
}

bool stands_still() {
  std::string stat;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "stat");
    std::getline(file, stat);
    if (stat.find(") D ") != std::string::npos) return true;
  }
  return false;
}

// Nobody waits for one that the kernel holds: its files are looked at, what it has mapped is not.
void who_is_stuck() {
  auto map_and_stand_still = [] {
    bool mapped = map_and_close(PROT_READ | PROT_WRITE, MAP_SHARED);
    std::thread(stand_still).detach();
    while (!stands_still()) std::this_thread::yield();
    return mapped;
  };
  {
    Other other(map_and_stand_still);
    CHECK(check().ok());
  }
  Other other([&] { return open(image.c_str(), O_RDWR) >= 0 && map_and_stand_still(); });
  CHECK(check().code == Code::busy);
}

void another_file_of_that_name() {
  Other other([] { return open(image.c_str(), O_RDWR) >= 0; });
  CHECK(rename(image.c_str(), (folder / "old").c_str()) == 0);
  FileDescriptor fd(open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(check().ok());
  CHECK(check_no_writer(FileDescriptor(open((folder / "old").c_str(), O_RDONLY)).get(), "old").code ==
        Code::busy);
}

// A folder as the kernel of a host of Xen has it.
void make_backend(const std::string& name, const std::string& device, const std::string& mode) {
  std::filesystem::path backend = std::filesystem::path(folder / "backends") / name;
  std::filesystem::create_directories(backend);
  std::ofstream(backend / "physical_device") << device << "\n";
  std::ofstream(backend / "mode") << mode << "\n";
}

void a_guest_of_xen() {
  make_backend("vbd-3-51712", "fd:1a", "w");
  make_backend("vbd-4-51712", "fd:1b", "r");
  make_backend("vif-5-0", "fd:1c", "w");
  std::string backends = folder / "backends";
  CHECK(xen_user_of({"7:0", "253:26"}, backends) == "the Xen domain 3");
  CHECK(xen_user_of({"253:27"}, backends).empty());  // it only reads
  CHECK(xen_user_of({"253:28"}, backends).empty());
  CHECK(xen_user_of({""}, backends).empty() && xen_user_of({"253:26"}, folder / "none").empty());
}

}  // namespace

int main() {
  RUN(the_own_process_is_no_other());
  RUN(who_reads());
  RUN(who_writes());
  RUN(who_has_mapped_it());
  RUN(who_is_stuck());
  RUN(another_file_of_that_name());
  RUN(a_guest_of_xen());
}
