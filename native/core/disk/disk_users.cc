#include "disk/disk_users.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include "base/kernel_files.h"
#include "disk/block_device.h"
#include "disk/xen_backend.h"

namespace blockferry {

namespace {

namespace fs = std::filesystem;

constexpr int kLooks = 10;
constexpr std::chrono::milliseconds kBetweenLooks{50};

// A file, or a device and all through which it can be written.
class Disk {
 public:
  Status open(const std::string& path) {
    if (stat(path.c_str(), &info_) != 0) return Status::from_errno(errno, "stat " + path);
    if (!S_ISBLK(info_.st_mode)) return {};
    std::unique_ptr<BlockDevice> device;
    Status status = BlockDevice::find(path, &device);
    if (!status.ok()) return status;
    numbers_ = device->with_users();
    numbers_.push_back(std::to_string(device->disk_major()) + ":" +
                       std::to_string(device->disk_minor()));
    return {};
  }

  // Asks no server and no other process: those may never answer.
  bool is_at(const std::string& path) const {
    struct statx found;
    if (statx(AT_FDCWD, path.c_str(), AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO, &found) != 0) {
      return false;
    }
    if (S_ISBLK(found.stx_mode) != S_ISBLK(info_.st_mode)) return false;
    if (S_ISBLK(found.stx_mode)) {
      return has(std::to_string(found.stx_rdev_major) + ":" + std::to_string(found.stx_rdev_minor));
    }
    return makedev(found.stx_dev_major, found.stx_dev_minor) == info_.st_dev &&
           found.stx_ino == info_.st_ino;
  }

  // Of a device.
  const std::vector<std::string>& numbers() const { return numbers_; }

  bool has(const std::string& number) const {
    return std::find(numbers_.begin(), numbers_.end(), number) != numbers_.end();
  }

 private:
  struct stat info_ = {};
  std::vector<std::string> numbers_;
};

// The mode of the link is that of the open file.
bool opened_for_writing(const fs::path& link) {
  struct stat info;
  return lstat(link.c_str(), &info) == 0 && (info.st_mode & S_IWUSR) != 0;
}

bool has_open(const fs::path& process, const Disk& disk) {
  for (const auto& link : entries_of(process / "fd")) {
    if (opened_for_writing(link) && disk.is_at(link)) return true;
  }
  return false;
}

// A process chooses its name itself, lines and all.
std::string name_of(const fs::path& process) {
  std::string name;
  std::ifstream file(process / "comm");
  std::getline(file, name, '\0');
  if (name.ends_with('\n')) name.pop_back();
  for (char& letter : name) {
    if (letter < ' ' || letter > '~') letter = '?';
  }
  return name + " (pid " + process.filename().string() + ")";
}

std::string find_process(const Disk& disk) {
  std::error_code error;
  fs::path self = fs::read_symlink("/proc/self", error);
  for (const auto& process : entries_of("/proc")) {
    std::string pid = process.filename();
    bool is_other = pid.find_first_not_of("0123456789") == std::string::npos && pid != self;
    if (is_other && has_open(process, disk)) return name_of(process);
  }
  return "";
}

// One that only looks at devices (udev, losetup) has each open for a moment.
std::string find_lasting_process(const Disk& disk) {
  std::string user = find_process(disk);
  for (int looks = 1; looks < kLooks && !user.empty(); looks++) {
    std::this_thread::sleep_for(kBetweenLooks);
    user = find_process(disk);
  }
  return user;
}

// The kernel has what lies under a loop device open, no process does.
std::string find_loop(const Disk& disk) {
  for (const auto& device : entries_of("/sys/block")) {
    std::string below = first_line(device / "loop/backing_file");
    if (below.empty() || first_line(device / "ro") == "1") continue;
    if (disk.is_at(below)) return "/dev/" + device.filename().string();
  }
  return "";
}

// "36 35 8:1 / /mnt rw …"
std::string find_mount(const Disk& disk) {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string id, parent, number, root, point;
    words >> id >> parent >> number >> root >> point;
    if (disk.has(number)) return "a file system, mounted at " + point;
  }
  return "";
}

std::string find_swap(const Disk& disk) {
  std::ifstream swaps("/proc/swaps");
  for (std::string line; std::getline(swaps, line);) {
    std::string path = line.substr(0, line.find_first_of(" \t"));
    if (path.starts_with("/") && disk.is_at(path)) return "the kernel, which swaps to it";
  }
  return "";
}

Status busy(const std::string& path, const std::string& user) {
  return Status::failure(Code::busy, path + " is in use by " + user, EBUSY);
}

}  // namespace

Status check_no_writer(int fd, const std::string& path) {
  Disk disk;
  if (!disk.open("/proc/self/fd/" + std::to_string(fd)).ok()) return {};
  std::string user = find_lasting_process(disk);
  if (user.empty()) user = find_loop(disk);
  if (user.empty()) user = xen_user_of(disk.numbers());
  return user.empty() ? Status{} : busy(path, user);
}

Status claimed_device(const std::string& path) {
  Disk disk;
  if (!disk.open(path).ok()) return busy(path, "another program");
  std::string user = find_mount(disk);
  if (user.empty()) user = find_swap(disk);
  if (user.empty()) user = find_process(disk);
  return busy(path, user.empty() ? "another program" : user);
}

}  // namespace blockferry
