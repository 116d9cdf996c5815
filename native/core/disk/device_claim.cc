#include "disk/device_claim.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>

namespace blockferry {

namespace {

constexpr char kFolder[] = "/run/blockferry";
constexpr char kFile[] = "devices";
constexpr int kMinorBits = 20;

// Nobody else can have put anything there, or can have it open.
Status check_private(const FileDescriptor& fd, const std::string& path, mode_t forbidden) {
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return Status::from_errno(errno, "stat " + path);
  if (info.st_uid == geteuid() && (info.st_mode & forbidden) == 0) return {};
  return Status::failure(Code::no_permission,
                         "other users can hold the claims of devices in " + path, EPERM);
}

Status open_folder(FileDescriptor* folder) {
  if (mkdir(kFolder, 0700) != 0 && errno != EEXIST) {
    return Status::from_errno(errno, std::string("make ") + kFolder);
  }
  folder->reset(open(kFolder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder->open()) return Status::from_errno(errno, std::string("open ") + kFolder);
  return check_private(*folder, kFolder, S_IWGRP | S_IWOTH);
}

Status open_claims(FileDescriptor* claims) {
  FileDescriptor folder;
  Status status = open_folder(&folder);
  if (!status.ok()) return status;
  std::string path = std::string(kFolder) + "/" + kFile;
  int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
  claims->reset(openat(folder.get(), kFile, flags, 0600));
  if (!claims->open()) return Status::from_errno(errno, "open " + path);
  return check_private(*claims, path, S_IRWXG | S_IRWXO);
}

off_t byte_of(const std::string& number) {
  unsigned major = 0, minor = 0;
  sscanf(number.c_str(), "%u:%u", &major, &minor);
  return (static_cast<off_t>(major) << kMinorBits) + minor;
}

}  // namespace

Status claim_device(const std::string& number, const std::string& path, FileDescriptor* claim) {
  FileDescriptor claims;
  Status status = open_claims(&claims);
  if (!status.ok()) return status;
  struct flock byte = {};
  byte.l_type = F_WRLCK;
  byte.l_whence = SEEK_SET;
  byte.l_start = byte_of(number);
  byte.l_len = 1;
  if (fcntl(claims.get(), F_OFD_SETLK, &byte) == 0) {
    *claim = std::move(claims);
    return {};
  }
  if (errno != EAGAIN && errno != EACCES) return Status::from_errno(errno, "claim " + path);
  return Status::failure(Code::busy, path + " has a tap already", EBUSY);
}

}  // namespace blockferry
