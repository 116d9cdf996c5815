#include "disk/open_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "disk/disk_users.h"
#include "disk/durability.h"

namespace blockferry {

Status open_file(const FileOriginOptions& options, FileDescriptor* fd, bool* created) {
  const std::string& path = options.path;
  int flags = O_CLOEXEC | O_NONBLOCK | (options.read_only ? O_RDONLY : O_RDWR);
  if (options.direct) flags |= O_DIRECT;
  struct stat info;
  bool there = stat(path.c_str(), &info) == 0;
  if (there && S_ISDIR(info.st_mode)) {
    return Status::failure(Code::is_directory, path + " is a directory", EISDIR);
  }
  if (there && !S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return Status::failure(Code::unsupported, path + " is neither a file nor a block device");
  }
  bool exclusive = there && S_ISBLK(info.st_mode) && options.lock;
  bool create = !there && options.create_size != 0 && !options.read_only;
  if (create) flags |= O_CREAT | O_EXCL;
  fd->reset(::open(path.c_str(), exclusive ? flags | O_EXCL : flags, 0600));
  bool claimed = !fd->open() && exclusive && errno == EBUSY;
  if (claimed && !options.force) return claimed_device(path);
  if (claimed) fd->reset(::open(path.c_str(), flags));
  if (!fd->open()) return Status::from_errno(errno, "open " + path);
  *created = create;
  if (!create) return {};
  bool sized = ftruncate(fd->get(), static_cast<off_t>(options.create_size)) == 0;
  int error = sized ? make_name_durable(fd->get(), path) : errno;
  if (error == 0) return {};
  unlink(path.c_str());
  return Status::from_errno(error, "create " + path);
}

}  // namespace blockferry
