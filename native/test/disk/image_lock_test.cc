// The lock on an image, byte by byte as QEMU has it.
#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "base/file_descriptor.h"
#include "disk/image_lock.h"
#include "test/check.h"
#include "test/temporary_folder.h"

using namespace blockferry;

namespace {

const TemporaryFolder folder;
const std::string image = folder / "image";

FileDescriptor open_image(int flags = O_RDWR) {
  FileDescriptor fd(open(image.c_str(), flags | O_CREAT | O_CLOEXEC, 0600));
  CHECK(fd.open());
  return fd;
}

// As QEMU marks one byte; with F_WRLCK as it looks whether anybody has.
bool is_free(const FileDescriptor& fd, short type, off_t byte) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  CHECK(fcntl(fd.get(), F_OFD_GETLK, &lock) == 0);
  return lock.l_type == F_UNLCK;
}

bool set_lock(const FileDescriptor& fd, short type, off_t byte) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = byte;
  lock.l_len = 1;
  return fcntl(fd.get(), F_OFD_SETLK, &lock) == 0;
}

// What a lock answers while somebody else has marked these bytes.
Code lock_beside(bool read_only, std::initializer_list<off_t> marks) {
  FileDescriptor theirs = open_image(), ours = open_image();
  for (off_t byte : marks) CHECK(set_lock(theirs, F_RDLCK, byte));
  return lock_image(ours.get(), image, read_only).code;
}

void a_reader_and_qemu() {
  CHECK(lock_beside(true, {100, 201, 203}) == Code::ok);  // it reads, and lets nobody write
  CHECK(lock_beside(true, {101}) == Code::busy);          // it writes
  CHECK(lock_beside(true, {103}) == Code::busy);          // it resizes
  CHECK(lock_beside(true, {200}) == Code::busy);          // it lets nobody read
}

void a_writer_and_qemu() {
  for (off_t byte : {100, 101, 103, 200, 201, 203}) {
    CHECK(lock_beside(false, {byte}) == Code::busy);
  }
}

void qemu_that_comes_later() {
  FileDescriptor ours = open_image(O_RDONLY), theirs = open_image();
  CHECK(lock_image(ours.get(), image, true).ok());
  CHECK(!is_free(theirs, F_WRLCK, 201) && !is_free(theirs, F_WRLCK, 203));  // nobody may write
  CHECK(is_free(theirs, F_WRLCK, 200));  // one that reads may come
  CHECK(is_free(theirs, F_WRLCK, 101) && is_free(theirs, F_WRLCK, 103) &&
        is_free(theirs, F_WRLCK, 104));
  FileDescriptor writer = open_image();
  ours.reset();
  CHECK(lock_image(writer.get(), image, false).ok());
  for (off_t byte : {100, 101, 103, 200, 201, 203}) CHECK(!is_free(theirs, F_RDLCK, byte));
}

void programs_that_lock_other_bytes() {
  for (off_t byte : {0, 99, 108, 150, 201, 1 << 20}) {
    FileDescriptor theirs = open_image(), ours = open_image(O_RDONLY);
    CHECK(set_lock(theirs, F_WRLCK, byte));
    CHECK(lock_image(ours.get(), image, true).code == Code::busy);
  }
}

void one_writer_or_several_readers() {
  FileDescriptor first = open_image(), second = open_image();
  CHECK(lock_image(first.get(), image, true).ok() && lock_image(second.get(), image, true).ok());
  CHECK(lock_image(open_image().get(), image, false).code == Code::busy);
  second.reset();
  first.reset();
  first = open_image();
  second = open_image();
  CHECK(lock_image(first.get(), image, false).ok());
  CHECK(lock_image(second.get(), image, true).code == Code::busy);
  CHECK(lock_image(second.get(), image, false).code == Code::busy);
  first.reset();
  CHECK(lock_image(second.get(), image, false).ok());
}

}  // namespace

int main() {
  RUN(a_reader_and_qemu());
  RUN(a_writer_and_qemu());
  RUN(qemu_that_comes_later());
  RUN(programs_that_lock_other_bytes());
  RUN(one_writer_or_several_readers());
}
