#include "disk/block_device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "base/file_descriptor.h"
#include "base/kernel_files.h"

namespace blockferry {

namespace {

namespace fs = std::filesystem;

// The numbers in a line of /sys/block/X/stat, from the first on.
enum StatField {
  kWrites = 4,
  kSectorsWritten = 6,
  kDiscards = 11,
  kSectorsDiscarded = 13,
  kStatFields = 14
};

Status read_line(const std::string& path, std::string* line) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  char text[512];
  ssize_t got = fd.open() ? read(fd.get(), text, sizeof text) : -1;
  if (got < 0) return Status::from_errno(errno, "read " + path);
  line->assign(text, static_cast<size_t>(got));
  while (!line->empty() && line->back() == '\n') line->pop_back();
  return {};
}

std::vector<uint64_t> numbers_in(const std::string& line) {
  std::vector<uint64_t> numbers;
  const char* at = line.data();
  const char* end = at + line.size();
  while (at != end) {
    uint64_t number = 0;
    auto [rest, error] = std::from_chars(at, end, number);
    if (error == std::errc()) numbers.push_back(number);
    at = error == std::errc() ? rest : at + 1;
  }
  return numbers;
}

Status read_numbers(const std::string& path, size_t least, std::vector<uint64_t>* numbers) {
  std::string line;
  Status status = read_line(path, &line);
  if (!status.ok()) return status;
  *numbers = numbers_in(line);
  if (numbers->size() >= least) return {};
  return Status::failure(Code::unsupported, path + " is not as it should be");
}

}  // namespace

Status BlockDevice::find(const std::string& path, std::unique_ptr<BlockDevice>* device) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) return Status::from_errno(errno, "find " + path);
  if (!S_ISBLK(info.st_mode)) {
    return Status::failure(Code::unsupported, path + " is not a block device");
  }
  auto found = std::make_unique<BlockDevice>();
  found->path_ = path;
  found->number_ = std::to_string(major(info.st_rdev)) + ":" + std::to_string(minor(info.st_rdev));
  std::error_code error;
  fs::path folder = fs::canonical("/sys/dev/block/" + found->number_, error);
  if (error) return Status::from_errno(error.value(), "find " + path + " in /sys/dev/block");
  bool partition = fs::exists(folder / "partition");
  found->folder_ = folder;
  found->disk_folder_ = partition ? folder.parent_path() : folder;
  std::vector<uint64_t> numbers;
  Status status = read_numbers(found->disk_folder_ + "/dev", 2, &numbers);
  if (!status.ok()) return status;
  found->disk_major_ = static_cast<unsigned>(numbers[0]);
  found->disk_minor_ = static_cast<unsigned>(numbers[1]);
  if (read_numbers(found->disk_folder_ + "/diskseq", 1, &numbers).ok()) {
    found->sequence_ = numbers[0];
  }
  if (partition) {
    status = read_numbers(found->folder_ + "/start", 1, &numbers);
    if (!status.ok()) return status;
    found->start_ = numbers[0];
  }
  status = found->measure_queues();
  if (status.ok()) *device = std::move(found);
  return status;
}

// A folder for each hardware queue.
Status BlockDevice::measure_queues() {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(disk_folder_ + "/mq", error)) {
    auto name = numbers_in(entry.path().filename());
    std::vector<uint64_t> tags;
    Status status = read_numbers(entry.path().string() + "/nr_tags", 1, &tags);
    if (!status.ok()) return status;
    if (name.empty()) continue;
    queues_ = std::max(queues_, static_cast<unsigned>(name[0]) + 1);
    tags_ = std::max(tags_, static_cast<unsigned>(tags[0]));
  }
  return {};
}

Status BlockDevice::sectors(uint64_t* sectors) const {
  std::vector<uint64_t> numbers;
  Status status = read_numbers(folder_ + "/size", 1, &numbers);
  if (status.ok()) *sectors = numbers[0];
  return status;
}

std::string BlockDevice::queue_setting(const std::string& name) const {
  std::string line;
  return read_line(disk_folder_ + "/queue/" + name, &line).ok() ? line : "";
}

Status BlockDevice::set_queue(const std::string& name, const std::string& value) const {
  std::string path = disk_folder_ + "/queue/" + name;
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  bool set = fd.open() && write(fd.get(), value.data(), value.size()) >= 0;
  return set ? Status{} : Status::from_errno(errno, "write " + value + " to " + path);
}

bool BlockDevice::mapped() const { return fs::exists(folder_ + "/dm"); }

std::vector<std::string> BlockDevice::with_users() const {
  std::vector<std::string> numbers;
  std::vector<fs::path> folders{folder_};
  std::error_code error;
  while (!folders.empty()) {
    fs::path folder = folders.back();
    folders.pop_back();
    std::string number;
    if (!read_line(folder / "dev", &number).ok()) continue;
    numbers.push_back(number);
    for (const auto& user : entries_of(folder / "holders")) {
      folders.push_back(fs::canonical(user, error));
    }
    for (const auto& part : entries_of(folder)) {
      if (fs::exists(part / "partition", error)) folders.push_back(part);
    }
  }
  return numbers;
}

bool BlockDevice::read_only() const {
  std::string line;
  return read_line(folder_ + "/ro", &line).ok() && line == "1";
}

Status BlockDevice::written_sectors(uint64_t* sectors) const {
  std::vector<uint64_t> numbers;
  Status status = read_numbers(disk_folder_ + "/stat", kStatFields, &numbers);
  if (status.ok()) *sectors = numbers[kSectorsWritten] + numbers[kSectorsDiscarded];
  return status;
}

Status BlockDevice::written(Written* written) const {
  std::vector<uint64_t> numbers;
  Status status = read_numbers(disk_folder_ + "/stat", kStatFields, &numbers);
  if (status.ok()) *written = {numbers[kWrites], numbers[kSectorsWritten], numbers[kDiscards]};
  return status;
}

Status BlockDevice::writes_in_flight(uint64_t* count) const {
  std::vector<uint64_t> numbers;
  Status status = read_numbers(disk_folder_ + "/inflight", 2, &numbers);
  if (status.ok()) *count = numbers[1];
  return status;
}

// Setting a limit to what it is does that, from some version on.
Status BlockDevice::drain_queue() const {
  std::string path = disk_folder_ + "/queue/max_sectors_kb";
  std::string value;
  Status status = read_line(path, &value);
  return status.ok() ? set_queue("max_sectors_kb", value) : status;
}

Status BlockDevice::drain_queue_by_depth() const {
  std::vector<uint64_t> depth;
  Status status = read_numbers(disk_folder_ + "/queue/nr_requests", 1, &depth);
  if (!status.ok()) return status;
  status = set_queue("nr_requests", std::to_string(depth[0] - 1));
  Status restored = set_queue("nr_requests", std::to_string(depth[0]));
  return status.ok() ? restored : status;
}

}  // namespace blockferry
