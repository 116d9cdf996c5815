// A machine that has no thread left: what needed one fails with Code::no_memory, leaves nothing
// half started, and the process goes on, with all that had its threads before.
// sanitizers: address, thread
#include <sys/socket.h>

#include <condition_variable>
#include <mutex>

#include "disk/thread_queue.h"
#include "nbd/server.h"
#include "receive/listener.h"
#include "send/sender.h"
#include "test/socket_pair.h"
#include "test/temporary_folder.h"
#include "test/thread_limit.h"
#include "tunnel/tunnel.h"

using namespace blockferry;

namespace {

constexpr uint64_t kSize = 8 << 20;

// What a test waits for: an event, or a failure.
class Outcome {
 public:
  void set(Status status) {
    std::lock_guard lock(mutex_);
    if (is_set_) return;
    is_set_ = true;
    status_ = std::move(status);
    changed_.notify_all();
  }
  Status wait() {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(60), [this] { return is_set_; }));
    return status_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
  Status status_;
};

bool has_ended(int fd) {
  char byte;
  return recv(fd, &byte, 1, 0) <= 0;
}

FileDescriptor connect_to_port(uint16_t port) {
  FileDescriptor fd;
  CHECK(connect_tcp("127.0.0.1", port, 5000, &fd).ok());
  return fd;
}

FileDescriptor connect_to_path(const std::string& path) {
  FileDescriptor fd;
  CHECK(connect_unix(path, &fd).ok());
  return fd;
}

// Both sides of a migration of one disk, which may fail at each step.
struct Migration {
  Migration()
      : listener(
            {},
            [this](std::shared_ptr<ReceiverSession> made) {
              session = std::move(made);
              connected.set({});
            },
            [](Refusal) {}),
        sender({[this](std::string, Backlog::Share) { heard.set({}); }, [] {}, [](uint64_t) {},
                [this](Status status) { over.set(std::move(status)); }},
               20'000, {}) {}
  ~Migration() {
    sender.close();
    listener.close();  // and the session, which may come as late as now
  }

  Status connect() {
    Status status = sender.connect("127.0.0.1", listener.bound().port, 5000);
    if (status.ok()) status = connected.wait();
    if (!status.ok()) return status;
    session->add_disk(std::make_shared<Tap>(make_memory_origin(kSize)), kSize, 4096, true);
    auto tap = std::make_shared<Tap>(make_memory_origin(kSize));
    tap->track(std::make_shared<Tracking>(kSize, 4096));
    sender.add_disk(tap, {true, true, true});
    return {};
  }

  void start_session() {
    session->start({[](std::string, Backlog::Share) {},
                    [this](uint64_t number) { sender.durable(number); },
                    [this](VerifiedMark) { over.set({}); },
                    [this](Status status) { over.set(std::move(status)); }});
  }

  // Until everything was sent and verified.
  Status all() {
    Status status = listener.listen("127.0.0.1", 0);
    if (status.ok()) status = connect();
    if (!status.ok()) return status;
    start_session();
    status = session->accept_streams(2, true);
    if (status.ok()) status = sender.open_streams(2);
    if (status.ok()) status = sender.open_inventory();
    if (status.ok()) status = sender.open_machine(folder / "memory");
    if (!status.ok()) return status;
    sender.start();
    sender.finish(1);
    return over.wait();
  }

  TemporaryFolder folder;
  Outcome connected, heard, over;
  std::shared_ptr<ReceiverSession> session;
  MigrationListener listener;
  Sender sender;
};

void a_receiver() {
  MigrationListener listener(
      {}, [](std::shared_ptr<ReceiverSession>) {}, [](Refusal) {});
  {
    ThreadLimit none(0);
    CHECK(listener.listen("127.0.0.1", 0).code == Code::no_memory);
  }
  CHECK(listener.listen("127.0.0.1", 0).ok());
}

void a_connection_to_a_receiver() {
  Migration migration;
  CHECK(migration.listener.listen("127.0.0.1", 0).ok());
  CHECK(migration.connect().ok());
  migration.start_session();
  {
    ThreadLimit none(0);
    CHECK(has_ended(connect_to_port(migration.listener.bound().port).get()));
  }
  CHECK(migration.session->send_message("still here").ok());
  CHECK(migration.heard.wait().ok());
}

void a_session() {
  Migration migration;
  CHECK(migration.listener.listen("127.0.0.1", 0).ok());
  CHECK(migration.connect().ok());
  {
    ThreadLimit none(0);
    migration.start_session();
    CHECK(migration.over.wait().code == Code::no_memory);
  }
  CHECK(migration.session->send_message("this is why").ok());
  CHECK(migration.heard.wait().ok());
}

void the_streams_of_a_session() {
  Migration migration;
  CHECK(migration.listener.listen("127.0.0.1", 0).ok());
  CHECK(migration.connect().ok());
  migration.start_session();
  {
    ThreadLimit none(0);
    CHECK(migration.session->accept_streams(2, true).code == Code::no_memory);
  }
  CHECK(migration.sender.open_streams(2).code == Code::protocol);  // it was not agreed on
}

void the_streams_of_a_source() {
  Migration migration;
  CHECK(migration.listener.listen("127.0.0.1", 0).ok());
  CHECK(migration.connect().ok());
  migration.start_session();
  CHECK(migration.session->accept_streams(2, true).ok());
  CHECK(migration.sender.open_streams(2).ok());
  {
    ThreadLimit none(0);
    CHECK(migration.sender.open_machine(migration.folder / "memory").code == Code::no_memory);
    CHECK(access((migration.folder / "memory").c_str(), F_OK) != 0);
    migration.sender.start();
  }
  CHECK(migration.over.wait().code == Code::no_memory);
}

// Wherever it is that they run out.
void a_migration_with_so_many_threads() {
  size_t before = threads_now();
  int reached = 0;
  for (size_t more = 0; more < 16; more++) {
    auto migration = std::make_unique<Migration>();
    {
      ThreadLimit limit(more);
      Status status = migration->all();
      CHECK(status.ok() || status.code == Code::no_memory || status.code == Code::peer_gone);
      CHECK(more != 0 || status.code == Code::no_memory);
      reached += status.ok();
    }
    migration.reset();
    for (int i = 0; i < 1000 && threads_now() > before; i++) usleep(1000);  // joined, not yet gone
    CHECK(threads_now() <= before);
  }
  fprintf(stderr, "%d of 16 came to their end\n", reached);
  CHECK(Migration().all().ok());
}

void the_relay_of_memory() {
  SocketPair local, wire;
  RelayLimits limits;
  RelayCounters counters;
  Socket peer(std::move(wire.one));
  FrameReader reader(peer);
  MachineRelay relay(std::move(local.other), peer, reader, limits, counters);
  ThreadLimit none(0);
  CHECK(relay.run().code == Code::no_memory);
  CHECK(has_ended(local.one.get()) && has_ended(wire.other.get()));
}

void a_connection_of_a_hypervisor() {
  TemporaryFolder folder;
  SocketPair wires[2];
  int used = 0;
  auto connect = [&](std::unique_ptr<Socket>* socket, std::unique_ptr<FrameReader>* reader) {
    *socket = std::make_unique<Socket>(std::move(wires[used++].one));
    *reader = std::make_unique<FrameReader>(**socket);
    return Status{};
  };
  Outcome failed;
  RelayLimits limits;
  MachinePort port(limits, connect, [&](Status status) { failed.set(std::move(status)); });
  CHECK(port.open(folder / "memory").ok());
  {
    ThreadLimit none(0);
    CHECK(has_ended(connect_to_path(folder / "memory").get()));
    CHECK(failed.wait().code == Code::no_memory);
    CHECK(has_ended(wires[0].other.get()) && port.stats().connections == 0);
  }
  FileDescriptor hypervisor = connect_to_path(folder / "memory");
  CHECK(write(hypervisor.get(), "memory", 6) == 6);
  char frame[6];
  CHECK(recv(wires[1].other.get(), frame, sizeof frame, MSG_WAITALL) == sizeof frame);
}

void an_nbd_server() {
  TemporaryFolder folder;
  NbdServer server;
  ListenAddress address{folder / "nbd", "", 0}, bound;
  {
    ThreadLimit none(0);
    CHECK(server.listen(address, &bound).code == Code::no_memory);
    CHECK(access(address.unix_path.c_str(), F_OK) != 0);
  }
  CHECK(server.listen(address, &bound).ok());
  char greeting[18];
  FileDescriptor first = connect_to_path(address.unix_path);
  CHECK(recv(first.get(), greeting, sizeof greeting, MSG_WAITALL) == sizeof greeting);
  {
    ThreadLimit none(0);
    CHECK(has_ended(connect_to_path(address.unix_path).get()));
  }
  NbdServerStats stats = server.stats();
  CHECK(stats.refused == 1 && stats.connections == 1);
}

void requests_to_a_disk() {
  auto origin = make_memory_origin(kSize);
  ThreadQueue queue(*origin, 4);
  std::vector<uint8_t> content(4096, 7), seen(4096);
  IoRequest write, read;
  write.kind = IoKind::write;
  write.length = read.length = content.size();
  write.buffer = content.data();
  read.buffer = seen.data();
  ThreadLimit none(0);
  for (IoRequest* request : {&write, &read}) {
    queue.submit(request);
    CHECK(queue.reap() == request && request->status.ok());
  }
  CHECK(queue.reap() == nullptr && seen == content);
}

struct Device : PacketDevice {
  int fd() const override { return pair.one.get(); }
  Status set_mtu(uint32_t) override { return {}; }
  SocketPair pair;
};

void a_tunnel(bool listens, size_t more) {
  size_t before = threads_now();
  TunnelOptions options;
  options.address = {"127.0.0.1", "127.0.0.1", 0, 2000};
  options.listens = listens;
  Tunnel tunnel(options, std::make_unique<Device>(), [](bool, const Status&) {});
  {
    ThreadLimit limit(more);
    CHECK(tunnel.start().code == Code::no_memory);
  }
  for (int i = 0; i < 1000 && threads_now() > before; i++) usleep(1000);
  CHECK(threads_now() <= before);
}

}  // namespace

int main() {
  become_a_user_of_its_own();
  if (!threads_can_be_limited()) {
    puts("skip all: threads can't be limited here (RLIMIT_NPROC)");
    return 0;
  }
  size_t descriptors = entries_of("/proc/self/fd");
  RUN(a_receiver());
  RUN(a_connection_to_a_receiver());
  RUN(a_session());
  RUN(the_streams_of_a_session());
  RUN(the_streams_of_a_source());
  RUN(a_migration_with_so_many_threads());
  RUN(the_relay_of_memory());
  RUN(a_connection_of_a_hypervisor());
  RUN(an_nbd_server());
  RUN(requests_to_a_disk());
  for (bool listens : {true, false}) {
    RUN(a_tunnel(listens, 0));
    RUN(a_tunnel(listens, 1));
  }
  CHECK(entries_of("/proc/self/fd") == descriptors);
  puts("ok nothing is left open");
}
