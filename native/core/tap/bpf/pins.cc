#include "tap/bpf/pins.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#ifdef BLOCKFERRY_HAVE_BPF
#include <bpf/bpf.h>
#endif

namespace blockferry {

namespace {

namespace fs = std::filesystem;

const char kMountPoint[] = "/sys/fs/bpf";
const std::string kRoot = "/sys/fs/bpf/blockferry";
constexpr long kBpfMagic = 0xcafe4a11;
// Who lists or removes folders holds them for a moment.
constexpr int kTries = 20;
constexpr std::chrono::milliseconds kRetry{5};

bool is_mounted() {
  struct statfs info;
  return statfs(kMountPoint, &info) == 0 && info.f_type == kBpfMagic;
}

// It stays mounted: others may have begun to use it.
Status mount_file_system() {
  if (is_mounted() || mount("bpf", kMountPoint, "bpf", 0, "mode=0700") == 0) return {};
  int error = errno;
  return Status::failure(error == EPERM ? Code::no_permission : Code::unsupported,
                         "there is no BPF file system at " + std::string(kMountPoint) +
                             " to keep a tap in, and it can't be mounted",
                         error);
}

Status make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return Status::from_errno(errno, "make " + path);
}

void remove_parts(const std::string& path) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) unlink(entry.path().c_str());
}

}  // namespace

BpfPins::~BpfPins() {
  if (!fd_.open()) return;
  remove_parts(path_);
  rmdir(path_.c_str());
  rmdir(kRoot.c_str());  // unless there are others
}

Status BpfPins::open(const std::string& name, std::unique_ptr<BpfPins>* pins) {
  Status status = mount_file_system();
  if (!status.ok()) return status;
  std::unique_ptr<BpfPins> opened(new BpfPins(kRoot + "/" + name));
  for (int tries = 0; tries < kTries; tries++) {
    if (tries != 0) std::this_thread::sleep_for(kRetry);
    status = opened->make();
    if (status.code != Code::busy && status.code != Code::not_found) break;
  }
  if (status.ok()) *pins = std::move(opened);
  return status;
}

Status BpfPins::make() {
  Status status = make_folder(kRoot);
  if (status.ok()) status = make_folder(path_);
  return status.ok() ? lock() : status;
}

// What somebody else has made is not trusted. A folder that was removed meanwhile is none.
Status BpfPins::lock() {
  FileDescriptor fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
  struct stat info;
  if (!fd.open() || fstat(fd.get(), &info) != 0) return Status::from_errno(errno, "open " + path_);
  if (info.st_uid != geteuid() || (info.st_mode & 022) != 0) {
    return Status::failure(Code::no_permission, "others can change " + path_, EACCES);
  }
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return Status::failure(Code::busy, path_ + " is another process's", errno);
  }
  struct stat now;
  if (stat(path_.c_str(), &now) != 0 || now.st_ino != info.st_ino) {
    return Status::failure(Code::not_found, path_ + " was removed");
  }
  fd_ = std::move(fd);
  return {};
}

void BpfPins::clear() const { remove_parts(path_); }

std::vector<BpfPins::Folder> BpfPins::list() {
  std::vector<Folder> folders;
  std::error_code error;
  if (!is_mounted()) return folders;
  for (const auto& entry : fs::directory_iterator(kRoot, error)) {
    FileDescriptor fd(::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.open()) continue;
    // Shared: others may list them at the same time.
    bool in_use = flock(fd.get(), LOCK_SH | LOCK_NB) != 0;
    folders.push_back({entry.path().filename(), in_use});
  }
  return folders;
}

Status BpfPins::remove(const std::string& name) {
  BpfPins pins(kRoot + "/" + name);
  return pins.lock();
}

#ifdef BLOCKFERRY_HAVE_BPF

Status BpfPins::add(const std::string& part, int fd) const {
  std::string path = path_ + "/" + part;
  if (bpf_obj_pin(fd, path.c_str()) == 0) return {};
  return Status::from_errno(errno, "pin " + path);
}

Status BpfPins::get(const std::string& part, FileDescriptor* fd) const {
  std::string path = path_ + "/" + part;
  fd->reset(bpf_obj_get(path.c_str()));
  return fd->open() ? Status{} : Status::from_errno(errno, "open " + path);
}

#else

Status BpfPins::add(const std::string&, int) const { return {}; }
Status BpfPins::get(const std::string& part, FileDescriptor*) const {
  return Status::failure(Code::not_found, part);
}

#endif

}  // namespace blockferry
