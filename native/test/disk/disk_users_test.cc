// Who is found that can write a disk: other processes.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/file_descriptor.h"
#include "disk/disk_users.h"
#include "disk/xen_backend.h"
#include "test/check.h"
#include "test/temporary_folder.h"

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
    CHECK(status.operation ==
          image + " is in use by a?writer (pid " + std::to_string(other.pid()) + ")");
  }
  CHECK(check().ok());
}

// As udev and losetup do with every device.
void who_only_looks() {
  Other other([] {
    if (fork() != 0) return true;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;; usleep(300)) FileDescriptor(open(image.c_str(), O_RDWR | O_CLOEXEC));
  });
  for (int i = 0; i < 1000; i++) CHECK(check().ok());
}

void another_file_of_that_name() {
  Other other([] { return open(image.c_str(), O_RDWR) >= 0; });
  CHECK(rename(image.c_str(), (folder / "old").c_str()) == 0);
  FileDescriptor fd(open(image.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  CHECK(check().ok());
  CHECK(
      check_no_writer(FileDescriptor(open((folder / "old").c_str(), O_RDONLY)).get(), "old").code ==
      Code::busy);
}

// Two file systems in which files have the same numbers.
void another_file_of_that_number() {
  std::string images[2];
  for (const char* name : {"one", "two"}) {
    std::string point = folder / name;
    CHECK(mkdir(point.c_str(), 0700) == 0 &&
          mount("tmpfs", point.c_str(), "tmpfs", 0, nullptr) == 0);
    images[name[0] == 't'] = point + "/image";
  }
  FileDescriptor fd(open(images[0].c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600));
  struct stat here, there;
  {
    Other other([&] { return open(images[1].c_str(), O_RDWR | O_CREAT, 0600) >= 0; });
    CHECK(stat(images[0].c_str(), &here) == 0 && stat(images[1].c_str(), &there) == 0);
    CHECK(here.st_ino == there.st_ino && here.st_dev != there.st_dev);
    CHECK(check_no_writer(fd.get(), images[0]).ok());
  }
  fd.reset();
  for (const char* name : {"one", "two"}) CHECK(umount((folder / name).c_str()) == 0);
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
  RUN(who_only_looks());
  RUN(another_file_of_that_name());
  RUN(a_guest_of_xen());
  if (geteuid() == 0) {
    RUN(another_file_of_that_number());
  } else {
    puts("skip another_file_of_that_number: mounting needs root");
  }
}
