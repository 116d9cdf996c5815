// What waits has a bound, and close() has an end: a peer that says more than is heard, and hypervisors
// that don't read.
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <xxhash.h>

#include <atomic>
#include <deque>
#include <future>

#include "memory/machine_port.h"
#include "receive/listener.h"
#include "test/check.h"
#include "test/socket_pair.h"
#include "test/temporary_folder.h"

using namespace blockferry;

namespace {

constexpr std::chrono::seconds kHangs{120};
constexpr uint64_t kSize = 1 << 20;

std::unique_ptr<Socket> greeted(uint16_t port, const std::string& hello, std::string* answer) {
  FileDescriptor fd;
  CHECK(connect_tcp("127.0.0.1", port, 5000, &fd).ok());
  auto socket = std::make_unique<Socket>(std::move(fd));
  CHECK(send_text(*socket, FrameType::hello, hello).ok());
  FrameReader reader(*socket);
  FrameHeader header;
  CHECK(reader.header(&header).ok() && reader.text(header, answer).ok());
  return socket;
}

// A receiver, and the control connection of a source made by hand.
struct Receiving {
  Receiving() {
    CHECK(listener.listen("127.0.0.1", 0).ok());
    control = greeted(listener.bound().port, "control", &id);
    session = came.get_future().get();
  }
  void start(ReceiverEvents events) {
    session->add_disk(std::make_shared<Tap>(make_memory_origin(kSize)), kSize, 4096, false);
    session->start(std::move(events));
    CHECK(session->accept_streams(1, true).ok());
  }
  std::unique_ptr<Socket> connect(const std::string& kind, const std::string& more = "") {
    std::string answer;
    return greeted(listener.bound().port, kind + " " + id + more, &answer);
  }
  // It must not take for ever.
  void close() {
    auto closed = std::async(std::launch::async, [this] { session->close(); });
    CHECK(closed.wait_for(kHangs) == std::future_status::ready);
    listener.close();
  }

  std::promise<std::shared_ptr<ReceiverSession>> came;
  MigrationListener listener{
      {}, [this](std::shared_ptr<ReceiverSession> s) { came.set_value(s); }, [](Refusal) {}};
  std::string id;
  std::unique_ptr<Socket> control;
  std::shared_ptr<ReceiverSession> session;
};

// Somebody who does not get to what was handed on.
class Slow {
 public:
  void take(size_t size, Backlog::Share share) {
    std::lock_guard lock(mutex_);
    waiting_.emplace_back(size, std::move(share));
    bytes_ += size;
    most_ = std::max(most_, bytes_);
    count_++;
    changed_.notify_all();
  }
  void until(int count) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, kHangs, [&] { return count_ >= count; }));
  }
  // The oldest is dealt with.
  void deal() {
    Backlog::Share share;
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) return;
    bytes_ -= waiting_.front().first;
    share = std::move(waiting_.front().second);
    waiting_.pop_front();
  }
  int count() {
    std::lock_guard lock(mutex_);
    return count_;
  }
  size_t most() {
    std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<size_t, Backlog::Share>> waiting_;
  size_t bytes_ = 0, most_ = 0;
  int count_ = 0;
};

void messages_that_nobody_gets_to() {
  constexpr int kMessages = 40;
  Receiving receiving;
  Slow slow;
  receiving.start(
      {[&](std::string text, Backlog::Share share) { slow.take(text.size(), std::move(share)); },
       [](uint64_t) {}, [](VerifiedMark) {}, [](Status) {}});
  std::thread flood([&] {
    for (int i = 0; i < kMessages; i++) {
      CHECK(send_text(*receiving.control, FrameType::control, std::string(kMaxControl, 'x')).ok());
    }
  });
  while (slow.count() < kMessages) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // it is slow
    slow.deal();
  }
  flood.join();
  CHECK(slow.most() <= ControlChannel::kMaxBacklog);
  receiving.close();
}

// Each has a price beside its text.
void many_small_messages() {
  constexpr int kMessages = 10'000, kMost = ControlChannel::kMaxBacklog / 513;
  Receiving receiving;
  Slow slow;
  receiving.start({[&](std::string, Backlog::Share share) { slow.take(1, std::move(share)); },
                   [](uint64_t) {}, [](VerifiedMark) {}, [](Status) {}});
  std::thread flood([&] {
    for (int i = 0; i < kMessages; i++) {
      if (!send_text(*receiving.control, FrameType::control, "x").ok()) return;
    }
  });
  for (int dealt = 0; dealt + kMost < kMessages; dealt++) {
    slow.until(dealt + kMost);
    slow.deal();
  }
  slow.until(kMessages);
  CHECK(slow.most() == kMost);
  receiving.close();  // with as many as can wait
  flood.join();
}

void closed_while_more_wants_to_come() {
  Receiving receiving;
  Slow slow;
  receiving.start({[&](std::string, Backlog::Share share) { slow.take(1, std::move(share)); },
                   [](uint64_t) {}, [](VerifiedMark) {}, [](Status) {}});
  std::thread flood([&] {
    while (send_text(*receiving.control, FrameType::control, std::string(kMaxControl, 'x')).ok()) {
    }
  });
  slow.until(1);
  receiving.close();
  flood.join();
}

void marks_that_nobody_gets_to() {
  constexpr int kMarks = 3;
  Receiving receiving;
  Slow slow;
  std::atomic<int> durable{0};
  receiving.start({[](std::string, Backlog::Share) {}, [&](uint64_t) { durable++; },
                   [&](VerifiedMark mark) { slow.take(1, std::move(mark.share)); }, [](Status) {}});
  auto data = receiving.connect("data", " 0 1");
  for (int number = 1; number <= kMarks; number++) {
    FrameHeader header;
    header.type = FrameType::mark;
    header.length = static_cast<uint64_t>(number);
    uint8_t bytes[kHeaderSize];
    encode_header(header, bytes);
    iovec part{bytes, sizeof bytes};
    CHECK(data->send(&part, 1).ok());
    if (number > 1) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // for it to do what it must not
      CHECK(durable == number - 1);
      slow.deal();
    }
    slow.until(number);
  }
  receiving.close();
}

// Of memory, all in one.
constexpr size_t kPiece = 256 << 10;

// A hypervisor's listening socket.
FileDescriptor listen_at(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(listen(fd.get(), 1) == 0);
  return fd;
}

// Until so much waits in the hypervisor's socket that the rest of a piece finds no room.
void until_full(int hypervisor) {
  int waiting = 0;
  while (waiting < 64 << 10) {
    CHECK(ioctl(hypervisor, FIONREAD, &waiting) == 0);
    std::this_thread::yield();
  }
}

Status send_memory(Socket& socket) {
  std::vector<uint8_t> bytes(kPiece);
  FrameHeader header;
  header.type = FrameType::machine;
  header.length = bytes.size();
  header.payload = static_cast<uint32_t>(bytes.size());
  header.check = XXH3_64bits(bytes.data(), bytes.size());
  uint8_t head[kHeaderSize];
  encode_header(header, head);
  iovec parts[2] = {{head, sizeof head}, {bytes.data(), bytes.size()}};
  return socket.send(parts, 2);
}

void a_hypervisor_that_does_not_read() {
  TemporaryFolder folder;
  FileDescriptor listener = listen_at(folder / "memory");
  Receiving receiving;
  receiving.start(
      {[](std::string, Backlog::Share) {}, [](uint64_t) {}, [](VerifiedMark) {}, [](Status) {}});
  receiving.session->accept_machine(folder / "memory");
  auto memory = receiving.connect("machine");
  std::thread flood([&] {
    while (send_memory(*memory).ok()) {
    }
  });
  FileDescriptor hypervisor(accept(listener.get(), nullptr, nullptr));
  until_full(hypervisor.get());
  receiving.close();
  flood.join();
}

// The same at the source, where it is the answers that come.
void a_hypervisor_that_hears_no_answer() {
  TemporaryFolder folder;
  SocketPair wire;
  Socket destination(std::move(wire.other));
  RelayLimits limits;
  MachinePort port(
      limits,
      [&](std::unique_ptr<Socket>* socket, std::unique_ptr<FrameReader>* reader) {
        *socket = std::make_unique<Socket>(std::move(wire.one));
        *reader = std::make_unique<FrameReader>(**socket);
        return Status{};
      },
      [](Status) {});
  CHECK(port.open(folder / "memory").ok());
  FileDescriptor hypervisor;
  CHECK(connect_unix(folder / "memory", &hypervisor).ok());
  std::thread flood([&] {
    while (send_memory(destination).ok()) {
    }
  });
  until_full(hypervisor.get());
  auto closed = std::async(std::launch::async, [&] { port.close(); });
  CHECK(closed.wait_for(kHangs) == std::future_status::ready);
  flood.join();
}

}  // namespace

int main() {
  RUN(messages_that_nobody_gets_to());
  RUN(many_small_messages());
  RUN(closed_while_more_wants_to_come());
  RUN(marks_that_nobody_gets_to());
  RUN(a_hypervisor_that_does_not_read());
  RUN(a_hypervisor_that_hears_no_answer());
}
