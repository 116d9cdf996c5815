// A session that is sealed: what was compared is what is committed. Nothing that the source still
// sends reaches a disk, and what another program writes there is found, where that can be told.
// sanitizers: address, thread
#include <fcntl.h>
#include <linux/blkpg.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <fstream>
#include <future>

#include "test/check.h"
#include "test/loop_device.h"
#include "test/migration_pair.h"
#include "test/nbd/test_origin.h"

using namespace blockferry;

namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kSize = 4 << 20;
using Bytes = std::vector<uint8_t>;

// A migration whose first mark is verified.
struct Verified {
  explicit Verified(std::unique_ptr<Origin> target)
      : sources{Disk(kSize)}, targets{Disk(std::move(target))}, pair(sources, targets, kBlock, 2) {
    write_source(7, 0);
    pair.sender.start();
    pair.bulk.wait(1);
    pair.sender.mark(1);
    pair.verified.wait(1);
    CHECK(pair.wrong.empty() && pair.session->missing(0) == 0);
  }
  void write_source(uint8_t byte, uint64_t offset) {
    Bytes block(kBlock, byte);
    write_through(*sources[0].tap, block.data(), offset, kBlock);
  }
  Bytes target() {
    Bytes bytes(kSize);
    CHECK(targets[0].tap->origin().read(bytes.data(), 0, kSize).ok());
    return bytes;
  }
  std::vector<uint32_t> seal() {
    std::vector<uint32_t> changed;
    CHECK(pair.session->seal(&changed).ok());
    return changed;
  }

  std::vector<Disk> sources, targets;
  Pair pair;
};

std::unique_ptr<Origin> test_origin() { return std::make_unique<TestOrigin>(kSize); }

std::unique_ptr<Origin> file_origin(const std::string& path) {
  FileOriginOptions options;
  options.path = path;
  options.create_size = kSize;
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  return origin;
}

// `send` makes the source send something.
void ends_the_session(const std::function<void(Verified&)>& send) {
  Verified migration(test_origin());
  Bytes before = migration.target();
  CHECK(migration.seal().empty());
  send(migration);
  migration.pair.receiver_failed.wait(1);
  CHECK(migration.pair.receiver_error.code == Code::protocol);
  migration.pair.session->close();
  CHECK(migration.target() == before);
}

void a_block_behind_the_seal() {
  ends_the_session([](Verified& migration) { migration.write_source(9, kBlock); });
}

void zeroes_behind_the_seal() {
  ends_the_session([](Verified& migration) { migration.write_source(0, 0); });
}

void a_mark_behind_the_seal() {
  ends_the_session([](Verified& migration) { migration.pair.sender.mark(2); });
}

void the_seal_waits_for_what_is_being_written() {
  auto made = std::make_unique<TestOrigin>(kSize);
  TestOrigin& origin = *made;
  Verified migration(std::move(made));
  origin.block();
  migration.write_source(9, 0);
  origin.wait_blocked(1);
  auto sealed = std::async(std::launch::async, [&] { return migration.seal(); });
  CHECK(sealed.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout);
  origin.release();
  sealed.get();
  CHECK(migration.target()[0] == 9);
  CHECK(migration.pair.session->missing(0) == 1);  // here, and in no checkpoint yet
}

void the_seal_waits_for_a_checkpoint() {
  auto made = std::make_unique<TestOrigin>(kSize);
  TestOrigin& origin = *made;
  Verified migration(std::move(made));
  origin.block();
  migration.pair.sender.mark(2);
  origin.wait_blocked(1);
  auto sealed = std::async(std::launch::async, [&] { return migration.seal(); });
  CHECK(sealed.wait_for(std::chrono::milliseconds(100)) == std::future_status::timeout);
  origin.release();
  sealed.get();
}

void a_seal_that_is_lifted() {
  Verified migration(test_origin());
  CHECK(migration.seal().empty());
  migration.pair.session->unseal();
  migration.write_source(9, kBlock);
  migration.pair.sender.finish(2);
  migration.pair.verified.wait(2);
  CHECK(migration.seal().empty());
  CHECK(migration.pair.session->digest(0) == migration.pair.sender.digest(0));
  CHECK(migration.target()[kBlock] == 9);
}

// Its last word may have been to commit.
void the_source_has_died() {
  Verified migration(test_origin());
  migration.pair.sender.close();
  migration.pair.receiver_failed.wait(1);
  CHECK(migration.seal().empty());
  CHECK(migration.pair.session->digest(0) == migration.pair.sender.digest(0));
}

void a_session_that_has_ended() {
  Verified migration(test_origin());
  migration.pair.session->close();
  std::vector<uint32_t> changed;
  CHECK(migration.pair.session->seal(&changed).code == Code::closed);
}

// As another program does it: through a descriptor of its own, and the page cache.
void write_by_hand(const std::string& path, uint64_t offset) {
  FileDescriptor fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  Bytes block(kBlock, 5);
  CHECK(fd.open() && pwrite(fd.get(), block.data(), kBlock, static_cast<off_t>(offset)) == kBlock);
}

void read_by_hand(const std::string& path) {
  FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  Bytes block(kBlock);
  CHECK(fd.open() && pread(fd.get(), block.data(), kBlock, 0) == kBlock &&
        fdatasync(fd.get()) == 0);
}

// Each time without a write first: who only reads gives no alarm.
void finds_who_writes(const std::string& path) {
  Verified migration(file_origin(path));
  read_by_hand(path);
  CHECK(migration.seal().empty());
  migration.pair.session->unseal();
  migration.write_source(9, kBlock);
  migration.pair.sender.finish(2);
  migration.pair.verified.wait(2);
  CHECK(migration.seal().empty());
  write_by_hand(path, kSize - kBlock);
  CHECK(migration.seal() == std::vector<uint32_t>{0});
}

void another_program_writes_the_file() {
  TemporaryFolder folder;
  finds_who_writes(folder / "disk");
}

void another_program_writes_the_device() {
  LoopDevice device(kSize);
  finds_who_writes(device.path());
}

// It can't be told who of both wrote: the block is not verified, so nothing can be committed.
void both_have_written() {
  TemporaryFolder folder;
  Verified migration(file_origin(folder / "disk"));
  uint64_t received = migration.pair.session->stats().content_bytes;
  migration.write_source(9, kBlock);
  while (migration.pair.session->stats().content_bytes == received) std::this_thread::yield();
  CHECK(migration.seal().empty());
  CHECK(migration.pair.session->missing(0) == 1);
}

// A partition of a loop device, with a node of the test's own.
class Partition {
 public:
  Partition(const LoopDevice& device, int number, const std::string& node)
      : node_(node), number_(number) {
    disk_.reset(open(device.path().c_str(), O_RDWR | O_CLOEXEC));
    blkpg_partition part = {};
    part.start = static_cast<long long>(number) * kSize;
    part.length = kSize;
    part.pno = number;
    CHECK(disk_.open() && change(BLKPG_ADD_PARTITION, part));
    std::string name = device.path().substr(5);
    std::ifstream numbers("/sys/block/" + name + "/" + name + "p" + std::to_string(number) +
                          "/dev");
    unsigned major_number = 0, minor_number = 0;
    char colon;
    CHECK(numbers >> major_number >> colon >> minor_number);
    CHECK(mknod(node.c_str(), S_IFBLK | 0600, makedev(major_number, minor_number)) == 0);
  }
  ~Partition() {
    blkpg_partition part = {};
    part.pno = number_;
    change(BLKPG_DEL_PARTITION, part);
  }
  const std::string& path() const { return node_; }

 private:
  bool change(int operation, blkpg_partition& part) {
    blkpg_ioctl_arg argument = {};
    argument.op = operation;
    argument.datalen = sizeof part;
    argument.data = &part;
    return ioctl(disk_.get(), BLKPG, &argument) == 0;
  }
  std::string node_;
  int number_;
  FileDescriptor disk_;
};

void the_neighbour_of_a_partition() {
  TemporaryFolder folder;
  LoopDevice device(4 * kSize);
  Partition one(device, 1, folder / "one"), two(device, 2, folder / "two");
  Verified migration(file_origin(one.path()));
  write_by_hand(two.path(), 0);
  read_by_hand(two.path());  // it has gone out
  CHECK(migration.seal().empty());
  write_by_hand(one.path(), 0);
  CHECK(migration.seal() == std::vector<uint32_t>{0});
}

// For as long as it lives: the setting outlives what is attached to a loop device.
class NoStatistics {
 public:
  explicit NoStatistics(const LoopDevice& device)
      : path_("/sys/block/" + device.path().substr(5) + "/queue/iostats") {
    set('0');
  }
  ~NoStatistics() { set('1'); }

 private:
  void set(char value) { CHECK((std::ofstream(path_) << value << std::endl).good()); }
  std::string path_;
};

// Where it can't be told there is no alarm.
void statistics_that_are_switched_off() {
  LoopDevice device(kSize);
  NoStatistics none(device);
  Verified migration(file_origin(device.path()));
  write_by_hand(device.path(), 0);
  CHECK(migration.seal().empty());
}

void a_file_system_of_another_kind() {
  TemporaryFolder folder;
  CHECK(unshare(CLONE_NEWNS) == 0);  // what is mounted goes with this process
  CHECK(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
  CHECK(mount("none", folder.path().c_str(), "ramfs", 0, nullptr) == 0);
  {
    Verified migration(file_origin(folder / "disk"));
    write_by_hand(folder / "disk", 0);
    CHECK(migration.seal().empty());
  }
  CHECK(umount(folder.path().c_str()) == 0);
}

}  // namespace

int main() {
  RUN(a_block_behind_the_seal());
  RUN(zeroes_behind_the_seal());
  RUN(a_mark_behind_the_seal());
  RUN(the_seal_waits_for_what_is_being_written());
  RUN(the_seal_waits_for_a_checkpoint());
  RUN(a_seal_that_is_lifted());
  RUN(the_source_has_died());
  RUN(a_session_that_has_ended());
  RUN(another_program_writes_the_file());
  RUN(another_program_writes_the_device());
  RUN(both_have_written());
  RUN(the_neighbour_of_a_partition());
  RUN(statistics_that_are_switched_off());
  RUN(a_file_system_of_another_kind());
}
