// One allocation fails, of whichever thread, at any moment of a migration or of an NBD client: the
// migration fails or moves, the client may be cut off, everything can be closed, and who listens serves
// the next one.
// sanitizers:
//
// SEED=N begins with that; STEP=N lets only the N-th allocation fail.
#include <cstdio>
#include <cstdlib>
#include <random>

#include "base/out_of_memory.h"
#include "test/migration_pair.h"
#include "test/nbd/raw_client.h"
#include "test/scarce_memory.h"

// What AlignedBuffer asks.
extern "C" void* aligned_alloc(size_t alignment, size_t size) {
  void* memory = nullptr;
  if (!blockferry::is_to_fail() && posix_memalign(&memory, alignment, size) == 0) return memory;
  return nullptr;
}

using namespace blockferry;

namespace {

constexpr uint64_t kSize = 2 << 20;
constexpr unsigned kStreams = 2;
constexpr int kTrials = 400;

// What the sides have said.
class Said {
 public:
  void note(bool Said::*what) {
    std::lock_guard lock(mutex_);
    this->*what = true;
    changed_.notify_all();
  }
  // Until that or a failure was said.
  Status wait(bool Said::*what) {
    std::unique_lock lock(mutex_);
    bool said =
        changed_.wait_for(lock, std::chrono::seconds(20), [&] { return this->*what || failed; });
    CHECK(said);
    return failed ? Status::failure(Code::closed, "it has failed") : Status{};
  }

  bool joined = false, bulk = false, verified = false, failed = false;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
};

// As the addon takes them: what is told is copied to memory of its own.
template <typename T>
void take(T value) {
  std::make_unique<std::pair<T, std::string>>(std::move(value), std::string(100, 'x'));
}

// Stands in for the hypervisor at the destination: takes the memory, and hangs up at its end.
class Hypervisor {
 public:
  Hypervisor() {
    CHECK(socket_.open({folder_ / "there", "", 0}).ok() && stop_.open().ok());
    thread_ = std::thread([this] { take_all(); });
  }
  ~Hypervisor() {
    stop_.raise();
    thread_.join();
  }
  std::string path() const { return folder_ / "there"; }
  std::string path_here() const { return folder_ / "here"; }

 private:
  void take_all() {
    while (stop_.wait_for(socket_.fd(), POLLIN, -1) != 0) {
      int error = 0;
      FileDescriptor relay = socket_.accept(&error);
      char bytes[4096];
      while (read(relay.get(), bytes, sizeof bytes) > 0) {
      }
    }
  }

  TemporaryFolder folder_;
  ListenSocket socket_;
  StopSignal stop_;
  std::thread thread_;
};

struct Destination {
  Destination()
      : listener(
            {}, [this](std::shared_ptr<ReceiverSession> session) { join(std::move(session)); },
            [](Refusal refusal) { take(std::move(refusal)); }) {
    CHECK(listener.listen("127.0.0.1", 0).ok());
  }
  void join(std::shared_ptr<ReceiverSession> session) {
    take(session->id());
    this->session = std::move(session);
    said->note(&Said::joined);
  }
  Said* said = nullptr;
  std::shared_ptr<ReceiverSession> session;
  MigrationListener listener;
};

class Move {
 public:
  explicit Move(Destination& destination) : destination_(destination) {
    fill(*source_.tap, 1, 0.3);
    destination.said = &said_;
  }
  Status run() {
    Status status = contain([this] { return join(); });
    if (status.ok()) status = contain([this] { return copy(); });
    countdown = 0;
    if (status.ok()) CHECK(equal(source_.tap->origin(), target_.tap->origin(), kSize));
    return status;
  }
  ~Move() {
    countdown = 0;
    sender_.close();
    // A session can be told of when its source has already failed.
    if (auto session = std::exchange(destination_.session, nullptr)) {
      session->close();
      destination_.listener.forget(session->id());
    }
  }

 private:
  Status join() {
    Status status = sender_.connect("127.0.0.1", destination_.listener.bound().port, 10'000);
    if (status.ok()) status = said_.wait(&Said::joined);
    if (!status.ok()) return status;
    ReceiverSession& session = *destination_.session;
    source_.tap->track(std::make_shared<Tracking>(kSize, 4096));
    session.add_disk(target_.tap, kSize, 4096, true);
    sender_.add_disk(source_.tap, {false, true, true});
    session.start({[](std::string text, Backlog::Share) { take(text + " taken"); },
                   [this](uint64_t number) {
                     take(number);
                     sender_.durable(number);
                   },
                   [this](VerifiedMark mark) {
                     take(std::move(mark));
                     said_.note(&Said::verified);
                   },
                   [this](Status why) { fail(std::move(why)); }});
    status = session.accept_streams(kStreams, true);
    if (status.ok()) status = sender_.open_inventory();
    if (status.ok()) status = sender_.open_streams(kStreams);
    return status.ok() ? send_memory(session) : status;
  }
  // Waits until both hypervisors' connections are at their end.
  Status send_memory(ReceiverSession& session) {
    session.accept_machine(hypervisor_.path());
    Status status = sender_.open_machine(hypervisor_.path_here());
    FileDescriptor here;
    if (status.ok()) status = connect_unix(hypervisor_.path_here(), &here);
    if (!status.ok()) return status;
    const char memory[100] = {};
    (void)!::send(here.get(), memory, sizeof memory, MSG_NOSIGNAL);
    shutdown(here.get(), SHUT_WR);
    char end;
    while (read(here.get(), &end, 1) > 0) {
    }
    return {};
  }
  Status copy() {
    sender_.start();
    Status status = said_.wait(&Said::bulk);
    if (!status.ok()) return status;
    sender_.finish(1);
    status = said_.wait(&Said::verified);
    std::vector<uint32_t> changed;
    return status.ok() ? destination_.session->seal(&changed) : status;
  }
  void fail(Status why) {
    take(std::move(why));
    said_.note(&Said::failed);
  }

  Destination& destination_;
  Hypervisor hypervisor_;
  Said said_;
  Disk source_{kSize}, target_{kSize};
  Sender sender_{
      {[](std::string text, Backlog::Share) { take(std::move(text)); },
       [this] {
         take(0);
         said_.note(&Said::bulk);
       },
       [](uint64_t number) { take(number); }, [this](Status why) { fail(std::move(why)); }},
      20'000,
      {}};
};

long setting(const char* name, long otherwise) {
  const char* text = getenv(name);
  return text == nullptr ? otherwise : atol(text);
}

// Which allocation fails in each trial. `most`: how many there are, roughly: threads don't always do
// the same.
class Steps {
 public:
  explicit Steps(long most) : most_(static_cast<uint64_t>(most)) {
    fprintf(stderr, "seed %ld, %ld allocations\n", seed_, most);
  }
  long next() {
    long step = only_ != 0 ? only_ : 1 + static_cast<long>(random_() % most_);
    fprintf(stderr, "allocation %ld\n", step);
    return step;
  }

 private:
  uint64_t most_;
  long only_ = setting("STEP", 0);
  long seed_ = setting("SEED", static_cast<long>(std::random_device()() >> 1));
  std::mt19937_64 random_{static_cast<uint64_t>(seed_)};
};

long allocations_of_a_move(Destination& destination) {
  Move move(destination);
  long before = allocations;
  CHECK(move.run().ok());
  return allocations - before;
}

void moves_whichever_allocation_fails() {
  Destination destination;
  Steps steps(allocations_of_a_move(destination));
  int failed = 0;
  for (int i = 0; i < kTrials; i++) {
    Move move(destination);
    countdown = steps.next();
    if (!move.run().ok()) failed++;
  }
  fprintf(stderr, "%d of %d failed\n", failed, kTrials);
  CHECK(failed > kTrials / 4);
  CHECK(allocations_of_a_move(destination) > 0);
  destination.listener.close();
}

// A whole conversation, in one piece.
Bytes nbd_conversation() {
  using namespace nbd;
  return be(kFixedNewstyle | kNoZeroes, 4) + RawClient::option(kOptStructuredReply) +
         RawClient::option(kOptGo, counted("disk") + be(0, 2)) +
         RawClient::write_request(1, 0, Bytes(300'000, 1), kFlagFua) +
         RawClient::write_request(2, 4096, Bytes(4096, 2)) +
         RawClient::request(kCmdRead, 3, 0, 300'000) + RawClient::request(kCmdFlush, 4, 0, 0) +
         RawClient::request(kCmdDisconnect, 5, 0, 0);
}

// To the end of it.
void talk(TestServer& server, const Bytes& conversation, long step) {
  RawClient client(server.path);
  countdown = step;
  client.try_send(conversation);
  CHECK(client.ended());
  countdown = 0;
  server.wait_connections(0);
}

void nbd_clients_whichever_allocation_fails() {
  TestServer server;
  Bytes conversation = nbd_conversation();
  talk(server, conversation, 0);
  long before = allocations;
  talk(server, conversation, 0);
  Steps steps(allocations - before);
  for (int i = 0; i < kTrials; i++) talk(server, conversation, steps.next());
  RawClient next(server.path);
  next.go();
  CHECK(next.error_of(RawClient::request(nbd::kCmdFlush, 1, 0, 0)) == nbd::kOk);
}

}  // namespace

int main() {
  RUN(moves_whichever_allocation_fails());
  RUN(nbd_clients_whichever_allocation_fails());
}
