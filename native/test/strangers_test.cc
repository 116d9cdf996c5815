// Connections that never say who they are: however many, they take a fixed part of the receiver's
// threads, descriptors and memory, and a migration gets through among them.
// sanitizers: address, thread
#include <netinet/in.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <vector>

#include "receive/listener.h"
#include "send/sender.h"
#include "test/entries.h"
#include "test/net/tls_peers.h"

using namespace blockferry;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kStrangers = 500;
#else
constexpr int kStrangers = 10'000;
#endif

size_t resident_bytes() {
  FILE* file = fopen("/proc/self/statm", "r");
  size_t total = 0, resident = 0;
  CHECK(file != nullptr && fscanf(file, "%zu %zu", &total, &resident) == 2);
  fclose(file);
  return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// Connects from an address of 127.0.0.0/8.
FileDescriptor connect_from(uint32_t from, uint16_t port) {
  FileDescriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in local = {}, remote = {};
  local.sin_family = remote.sin_family = AF_INET;
  local.sin_addr.s_addr = htonl(from);
  remote.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  remote.sin_port = htons(port);
  CHECK(fd.open());
  CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&local), sizeof local) == 0);
  CHECK(connect(fd.get(), reinterpret_cast<sockaddr*>(&remote), sizeof remote) == 0);
  return fd;
}

struct Receiver {
  explicit Receiver(std::shared_ptr<const TlsCredentials> tls, uint32_t max_greeting = 64)
      : listener(
            options(std::move(tls), max_greeting),
            [this](std::shared_ptr<ReceiverSession>) { sessions++; },
            [this](Refusal refusal) { note(refusal); }) {
    CHECK(listener.listen("127.0.0.1", 0).ok());
  }
  static MigrationListenerOptions options(std::shared_ptr<const TlsCredentials> tls,
                                          uint32_t max_greeting) {
    MigrationListenerOptions options;
    options.trust = std::move(tls);
    options.max_greeting = max_greeting;
    return options;
  }
  void note(const Refusal& refusal) {
    bool of_many = refusal.why.code == Code::busy && refusal.peer.host == "127.0.0.1";
    if (of_many && refusal.peer.port != 0) refused++;
  }
  std::atomic<int> sessions{0}, refused{0};
  MigrationListener listener;
};

Status migrate_to(uint16_t port, const std::shared_ptr<const TlsCredentials>& tls) {
  Sender sender({[](std::string, Backlog::Share) {}, [] {}, [](uint64_t) {}, [](Status) {}}, 20'000,
                tls);
  Status status = sender.connect("127.0.0.1", port, 10'000);
  sender.close();
  return status;
}

// Who holds on to what they have, by turns: silent, with a byte, with the start of a handshake.
void many_strangers(std::shared_ptr<const TlsCredentials> tls) {
  Receiver receiver(tls);
  uint16_t port = receiver.listener.bound().port;
  size_t threads = entries_of("/proc/self/task");
  [[maybe_unused]] size_t memory = resident_bytes();
  std::vector<FileDescriptor> strangers;
  size_t most_threads = 0;
  for (int i = 0; i < kStrangers; i++) {
    strangers.push_back(connect_from(INADDR_LOOPBACK, port));
    const char start[] = {22, 3, 1, 2, 0, 1};
    if (i % 3 != 0) (void)!send(strangers.back().get(), start, i % 3 == 1 ? 1 : 6, MSG_NOSIGNAL);
    if (i % 100 == 0) most_threads = std::max(most_threads, entries_of("/proc/self/task"));
    if (i % 1000 == 500) CHECK(migrate_to(port, tls).ok());
  }
  CHECK(migrate_to(port, tls).ok());
  CHECK(most_threads <= threads + 64 + 8);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
  size_t grown = resident_bytes() - std::min(memory, resident_bytes());
  fprintf(stderr, "resident memory grew by %zu KiB\n", grown >> 10);
  CHECK(grown < 64 << 20);
#endif
  int migrations = (kStrangers + 499) / 1000 + 1;
  // A session is told of when its source may already have gone.
  for (int i = 0; i < 500 && receiver.sessions < migrations; i++) usleep(10'000);
  CHECK(receiver.sessions == migrations);
  // All but those that still have a place were told of.
  for (int i = 0; i < 500 && receiver.refused < kStrangers - 64; i++) usleep(10'000);
  CHECK(receiver.refused >= kStrangers - 64 && receiver.refused <= kStrangers);
  receiver.listener.close();
  CHECK(entries_of("/proc/self/task") <= threads);
}

// Strangers that come again and again from one address can't push out who is slow at another.
void a_slow_peer_at_another_address() {
  auto tls = psk_credentials("alice", kKey);
  Receiver receiver(tls, 8);
  uint16_t port = receiver.listener.bound().port;
  FileDescriptor slow = connect_from(INADDR_LOOPBACK + 1, port);
  std::vector<FileDescriptor> strangers;
  for (int i = 0; i < 200; i++) strangers.push_back(connect_from(INADDR_LOOPBACK, port));
  Socket socket(std::move(slow));
  auto session = std::make_unique<TlsSession>(tls, TlsSession::Side::client, "127.0.0.1");
  CHECK(socket.secure(std::move(session), in_ms(10'000)).ok());
}

}  // namespace

int main() {
  rlimit limit = {};
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 20'000);
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  size_t descriptors = entries_of("/proc/self/fd");
  RUN(many_strangers(psk_credentials("alice", kKey)));
  RUN(many_strangers(nullptr));
  RUN(a_slow_peer_at_another_address());
  CHECK(entries_of("/proc/self/fd") == descriptors);
  puts("ok nothing is left open");
}
