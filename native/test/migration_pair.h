// A source and a destination in one process, over loopback, for tests of what moves between them.
#pragma once

#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

#include "receive/listener.h"
#include "send/sender.h"
#include "test/check.h"
#include "test/temporary_folder.h"

namespace blockferry {

// Counts events and lets the test wait for them.
class Latch {
 public:
  void post() {
    std::lock_guard lock(mutex_);
    count_++;
    changed_.notify_all();
  }
  void reach(int count) {
    std::lock_guard lock(mutex_);
    count_ = count;
    changed_.notify_all();
  }
  void wait(int count) {
    std::unique_lock lock(mutex_);
    CHECK(changed_.wait_for(lock, std::chrono::seconds(60), [&] { return count_ >= count; }));
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

// Under ThreadSanitizer in files: a disk is read while it is written, which is no race in the
// kernel, but would be one in memory.
inline std::unique_ptr<Origin> make_origin(uint64_t size) {
#ifdef __SANITIZE_THREAD__
  TemporaryFolder folder;  // the file lives on without a name
  FileOriginOptions options;
  options.path = folder / "disk";
  options.create_size = size;
  std::unique_ptr<Origin> origin;
  CHECK(open_file_origin(options, &origin).ok());
  return origin;
#else
  return make_memory_origin(size);
#endif
}

struct Disk {
  explicit Disk(uint64_t size) : Disk(make_origin(size)) {}
  explicit Disk(std::unique_ptr<Origin> origin) : tap(std::make_shared<Tap>(std::move(origin))) {}
  std::shared_ptr<Tap> tap;
};

inline void write_through(Tap& tap, const void* data, uint64_t offset, uint64_t length) {
  Tap::Ticket ticket;
  while (tap.admit(ticket, offset, length).answer != Admission::Answer::go)
    std::this_thread::yield();
  CHECK(tap.origin().write(data, offset, length, false).ok());
  tap.finished(ticket, offset, length);
}

inline void fill(Tap& tap, uint64_t seed, double zero_share) {
  std::mt19937_64 random(seed);
  std::vector<uint64_t> block(512);
  uint64_t size = tap.origin().size();
  for (uint64_t at = 0; at < size; at += 4096) {
    if (random() % 1000 < zero_share * 1000) continue;
    for (auto& word : block) word = random() % 16 == 0 ? random() : 7;
    CHECK(tap.origin().write(block.data(), at, std::min<uint64_t>(4096, size - at), false).ok());
  }
}

inline bool equal(Origin& a, Origin& b, uint64_t size) {
  std::vector<uint8_t> left(1 << 20), right(1 << 20);
  for (uint64_t at = 0; at < size; at += left.size()) {
    uint64_t length = std::min<uint64_t>(left.size(), size - at);
    CHECK(a.read(left.data(), at, length).ok() && b.read(right.data(), at, length).ok());
    if (memcmp(left.data(), right.data(), length) != 0) return false;
  }
  return true;
}

struct Pair {
  explicit Pair(const std::vector<Disk>& sources, const std::vector<Disk>& targets,
                uint32_t block_size, unsigned streams, bool inventory = false)
      : listener(
            {},
            [this](std::shared_ptr<ReceiverSession> s) {
              session = std::move(s);
              connected.post();
            },
            [](Refusal) {}),
        sender({[](std::string, Backlog::Share) {}, [this] { bulk.post(); },
                [this](uint64_t n) { marked.reach(n); },
                [this](Status s) {
                  sender_error = s;
                  failed.post();
                }},
               20'000, {}) {
    CHECK(listener.listen("127.0.0.1", 0).ok());
    CHECK(sender.connect("127.0.0.1", listener.bound().port, 5000).ok());
    connected.wait(1);
    for (size_t i = 0; i < sources.size(); i++) {
      uint64_t size = sources[i].tap->origin().size();
      Tap& source = *sources[i].tap;
      if (!source.keeps_tracking()) source.track(std::make_shared<Tracking>(size, block_size));
      session->add_disk(targets[i].tap, size, block_size, inventory);
      bool blank = !inventory && targets[i].tap->origin().blank();
      sender.add_disk(sources[i].tap, {blank, inventory, true});
    }
    session->start({[](std::string, Backlog::Share) {},
                    [this](uint64_t n) {
                      if (on_durable) on_durable(n);
                      sender.durable(n);
                      durable.post();
                    },
                    [this](VerifiedMark mark) {
                      wrong = std::move(mark.wrong);
                      verified.post();
                    },
                    [this](Status s) {
                      receiver_error = s;
                      receiver_failed.post();
                    }});
    CHECK(session->accept_streams(streams, true).ok());
    CHECK(sender.open_streams(streams).ok());
    if (inventory) CHECK(sender.open_inventory().ok());
  }
  ~Pair() {
    sender.close();
    session->close();
    listener.close();
  }

  Latch connected, bulk, marked, failed, durable, verified, receiver_failed;
  Status sender_error, receiver_error;
  // Called first, before the source hears of it.
  std::function<void(uint64_t)> on_durable;
  std::vector<WrongRange> wrong;
  std::shared_ptr<ReceiverSession> session;
  MigrationListener listener;
  Sender sender;
};

}  // namespace blockferry
