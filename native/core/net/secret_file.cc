#include "net/secret_file.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include <cstdio>

#include "base/file_descriptor.h"

namespace blockferry {

namespace {

constexpr size_t kMaxLength = 1 << 20;

Status read_all(int fd, const std::string& operation, std::string* text) {
  text->clear();
  text->reserve(kMaxLength);  // no copy of a secret stays behind where the text has grown
  char buffer[4096];
  Status status;
  for (;;) {
    ssize_t got = read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = Status::from_errno(errno, operation);
    if (got <= 0) break;
    if (text->size() + static_cast<size_t>(got) > kMaxLength) {
      status = Status::failure(Code::invalid, operation + ": it is longer than 1 MiB");
      break;
    }
    text->append(buffer, static_cast<size_t>(got));
  }
  explicit_bzero(buffer, sizeof buffer);
  return status;
}

Status check_mode(int fd, const std::string& operation) {
  struct stat info;
  if (fstat(fd, &info) != 0) return Status::from_errno(errno, operation);
  if ((info.st_mode & 077) == 0) return {};
  char mode[8];
  snprintf(mode, sizeof mode, "%04o", info.st_mode & 07777u);
  return Status::failure(
      Code::no_permission,
      operation + ": its mode " + mode + " lets others than its owner at the key; chmod 600 it");
}

Status read_file(const std::string& what, const std::string& path, bool secret, std::string* text) {
  std::string operation = what + ": read " + path;
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.open()) return Status::from_errno(errno, operation);
  Status status = secret ? check_mode(fd.get(), operation) : Status{};
  return status.ok() ? read_all(fd.get(), operation, text) : status;
}

}  // namespace

Status read_text_file(const std::string& what, const std::string& path, std::string* text) {
  return read_file(what, path, false, text);
}

Status read_secret_file(const std::string& what, const std::string& path, std::string* text) {
  return read_file(what, path, true, text);
}

void erase_secret(std::string* text) {
  explicit_bzero(text->data(), text->size());
  text->clear();
}

}  // namespace blockferry
