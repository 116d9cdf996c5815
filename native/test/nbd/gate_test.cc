// The gate and the ends of connections, seen by NBD clients: held, refused and throttled writes;
// clients that vanish; exports that are removed; the server's close.
// sanitizers: address, thread
#include <thread>

#include "test/descriptor_limit.h"
#include "test/nbd/raw_client.h"

using namespace blockferry;
using namespace blockferry::nbd;
using namespace std::chrono_literals;

namespace {

constexpr uint32_t kSize = TestServer::kSize;

Bytes page(uint8_t value) { return Bytes(4096, value); }

void held_writes_wait_while_others_pass() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.tap->hold();
  CHECK(test.tap->wait_drained(60s));
  client.send(RawClient::write_request(1, 0, page(1)) + RawClient::write_request(2, 0, page(2)) +
              RawClient::write_request(3, 0, Bytes(25 * 4096, 3)) +
              RawClient::request(kCmdTrim, 4, 0, 4096) +
              RawClient::write_request(5, 4096, page(5)) + RawClient::request(kCmdFlush, 6, 0, 0) +
              RawClient::request(kCmdRead, 7, 0, 4096) + RawClient::request(kCmdRead, 8, 0, kSize));
  // Reads and flushes are answered, and see nothing of what waits.
  for (int i = 0; i < 3; i++) {
    uint64_t next = 0;
    Bytes magic = client.receive(8);
    CHECK(get32(&magic[4]) == kOk);
    next = get64(client.receive(8).data());
    CHECK(next >= 6 && next <= 8);
    if (next == 7) CHECK(client.receive(4096) == page(0));
    if (next == 8) CHECK(client.receive(kSize) == Bytes(kSize, 0));
  }
  CHECK(test.tap->drained());
  test.tap->open();
  for (int i = 0; i < 5; i++) CHECK(client.reply().error == kOk);
  // In their order: the last one to a place is what stays.
  Bytes content = test.origin->content();
  CHECK(content[0] == 3 && content[4095] == 3 && content[4096] == 5 && content[25 * 4096 - 1] == 3);
  TapStats stats = test.tap->stats();
  CHECK(stats.writes == 5 && stats.hold_us > 0 && stats.writes_delayed == 0);
}

void refusing_answers_the_held_too() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.tap->hold();
  client.send(RawClient::write_request(1, 0, page(1)) + RawClient::write_request(2, 0, page(2)) +
              RawClient::request(kCmdFlush, 3, 0, 0));
  CHECK(client.reply().handle == 3);
  test.tap->refuse();
  CHECK(client.reply().error == kEperm);
  CHECK(client.reply().error == kEperm);
  CHECK(client.error_of(RawClient::write_request(4, 0, page(4))) == kEperm);
  CHECK(client.error_of(RawClient::request(kCmdTrim, 4, 0, 512)) == kEperm);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 4, 0, 512)) == kEperm);
  CHECK(test.origin->content() == Bytes(kSize, 0));
  test.tap->open();
  CHECK(client.error_of(RawClient::write_request(5, 0, page(5))) == kOk);
  CHECK(test.tap->drained());
}

// A client that never stops asking for reads does not starve its own held write.
void a_busy_reader_gets_its_writes_done() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.tap->hold();
  client.send(RawClient::write_request(1, 0, page(1)));
  Bytes reads;
  for (int i = 0; i < 100; i++) {
    reads = std::move(reads) + RawClient::request(kCmdRead, 2, 0, 512);
  }
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    while (!stop) client.send(reads);
    client.send(RawClient::request(kCmdDisconnect, 3, 0, 0));
  });
  for (uint64_t replies = 0; !stop; replies++) {
    if (replies == 2000) test.tap->open();
    Bytes head = client.receive(16);
    if (get64(&head[8]) == 1) stop = true;
    if (get64(&head[8]) == 2) client.receive(512);
  }
  CHECK(client.ended());
  sender.join();
}

// More held writes than the connection may have pending: it stops reading, and goes on after.
void held_writes_are_bounded() {
  NbdServerOptions options;
  options.queue_depth = 8;
  TestServer test(options);
  RawClient client(test.path);
  client.go();
  test.tap->hold();
  constexpr int kWrites = 500;
  std::thread sender([&] {
    for (int i = 0; i < kWrites; i++) client.send(RawClient::write_request(i, 0, page(uint8_t(i))));
  });
  usleep(50'000);
  test.tap->open();
  for (int i = 0; i < kWrites; i++) CHECK(client.reply().handle == uint64_t(i));
  sender.join();
  CHECK(test.origin->content()[0] == uint8_t(kWrites - 1));
}

void throttled_writes_are_delayed_not_lost() {
  TestServer test;
  ThrottleLimits limits;
  limits.writes_per_second = 2000;
  limits.burst_writes = 1;
  test.tap->set_throttle(limits);
  std::vector<std::thread> threads;
  for (int part = 0; part < 3; part++) {
    threads.emplace_back([&, part] {
      RawClient client(test.path);
      client.go();
      Bytes all;
      for (int i = 0; i < 50; i++) {
        uint64_t offset = part * 65536 + i % 16 * 4096;
        all = std::move(all) + RawClient::write_request(i, offset, page(uint8_t(i + 1)));
      }
      client.send(all);
      for (int i = 0; i < 50; i++) {
        auto reply = client.reply();
        CHECK(reply.handle == uint64_t(i) && reply.error == kOk);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  TapStats stats = test.tap->stats();
  CHECK(stats.writes == 150 && stats.writes_delayed > 100 && stats.delay_us > 0);
  // A limit that would take for ever, lifted.
  limits.writes_per_second = 1e-6;
  test.tap->set_throttle(limits);
  RawClient client(test.path);
  client.go();
  client.send(RawClient::write_request(1, 0, page(1)) + RawClient::write_request(2, 0, page(2)) +
              RawClient::write_request(3, 0, page(3)) + RawClient::request(kCmdFlush, 4, 0, 0));
  while (client.reply().handle != 4) {
  }
  test.tap->set_throttle({});
  while (client.reply().handle != 3) {
  }
  CHECK(test.origin->content()[0] == 3);
}

// Nobody can take back a write that waits once its client is gone; it must not be done later,
// over what a new client may have written by then.
void held_writes_of_the_vanished_are_dropped() {
  TestServer test;
  uint16_t port = test.listen_tcp();
  for (int turn = 0; turn < 4; turn++) {
    bool full = turn % 2 != 0;  // so many that the connection has stopped reading
    test.tap->hold();
    RawClient client = turn < 2 ? RawClient(test.path) : RawClient(port);
    client.go();
    Bytes all;
    for (int i = 0; i < (full ? 100 : 3); i++) {
      all = std::move(all) + RawClient::write_request(10 + i, i * 4096, page(1));
    }
    client.send(std::move(all) + RawClient::request(kCmdFlush, 3, 0, 0));
    if (!full) CHECK(client.reply().handle == 3);
    usleep(10'000);
    client.vanish();
    test.wait_connections(0);
    test.tap->open();
  }
  CHECK(test.origin->content() == Bytes(kSize, 0));
  CHECK(test.tap->drained());
}

// Not even when the gate opens while the connection still waits for its other work.
void held_writes_of_the_vanished_are_dropped_at_once() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.origin->block();
  client.send(RawClient::write_request(1, 0, page(1), kFlagFua));
  test.origin->wait_blocked(1);
  test.tap->hold();
  client.send(RawClient::write_request(2, 4096, page(2)) + RawClient::request(kCmdCache, 3, 0, 1));
  CHECK(client.reply().handle == 3);
  client.vanish();
  usleep(50'000);
  test.tap->open();
  usleep(50'000);
  test.origin->release();
  test.wait_connections(0);
  CHECK(test.origin->content()[0] == 1 && test.origin->content()[4096] == 0);
}

void a_write_under_way_outlives_its_client() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.origin->block();
  client.send(RawClient::write_request(1, 0, page(1), kFlagFua) +
              RawClient::write_request(2, 4096, Bytes(100, 2), kFlagFua));
  test.origin->wait_blocked(2);
  client.vanish();
  test.tap->hold();
  CHECK(!test.tap->wait_drained(50ms));
  test.origin->release();
  CHECK(test.tap->wait_drained(60s));
  test.wait_connections(0);
  CHECK(test.origin->content()[0] == 1 && test.origin->content()[4096] == 2);
}

// Reads, and the writes of others, go on while one flush takes its time.
void a_slow_flush_stalls_nobody() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.origin->block();
  client.send(RawClient::request(kCmdFlush, 1, 0, 0));
  test.origin->wait_blocked(1);
  client.send(RawClient::request(kCmdCache, 2, 0, 4096));
  CHECK(client.reply().handle == 2);
  test.origin->release();
  CHECK(client.reply().handle == 1);
}

// Without a descriptor left nobody can be accepted: those of clients that have gone are given back first.
void the_gone_make_room() {
  TestServer test;
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 8; i++) {
    clients.push_back(std::make_unique<RawClient>(test.path));
    clients.back()->go();
  }
  NoDescriptors none(1);
  RawClient late(test.path);
  for (auto& client : clients) shutdown(client->fd(), SHUT_RDWR);  // each keeps its own descriptor
  late.go();
}

void close_lets_the_work_finish() {
  TestServer test;
  RawClient busy(test.path), held(test.path), idle(test.path), shaking(test.path);
  for (RawClient* client : {&busy, &held, &idle}) client->go();
  test.origin->block();
  busy.send(RawClient::write_request(1, 0, page(1), kFlagFua));
  test.origin->wait_blocked(1);
  test.tap->hold();
  held.send(RawClient::write_request(2, 4096, page(2)) + RawClient::request(kCmdCache, 3, 0, 1));
  CHECK(held.reply().handle == 3);
  std::thread closing([&] { test.server.close(); });
  // Who has nothing in flight is answered at once.
  auto reply = held.reply();
  CHECK(reply.handle == 2 && reply.error == kEshutdown);
  CHECK(held.ended());
  CHECK(idle.ended());
  CHECK(shaking.ended());
  test.origin->release();
  reply = busy.reply();
  CHECK(reply.handle == 1 && reply.error == kOk);
  CHECK(busy.ended());
  closing.join();
  CHECK(test.origin->content()[0] == 1 && test.origin->content()[4096] == 0);
  CHECK(test.tap->drained());
  test.server.close();
  CHECK(test.server.add_export({"late", "", false, test.tap}).code == Code::closed);
  ListenAddress bound;
  CHECK(test.server.listen({test.path, "", 0}, &bound).code == Code::closed);
}

// A client that never reads its replies can't keep the server open.
void close_does_not_wait_for_a_deaf_client() {
  TestServer test;
  RawClient deaf(test.path);
  deaf.go();
  Bytes all;
  for (int i = 0; i < 40; i++) all = std::move(all) + RawClient::request(kCmdRead, i, 0, kSize);
  deaf.send(all);
  test.server.close();
}

void removing_an_export_ends_its_connections() {
  TestServer test;
  auto other = std::make_shared<Tap>(std::make_unique<TestOrigin>(kSize));
  std::weak_ptr<Tap> watch = other;
  CHECK(test.server.add_export({"other", "", false, std::move(other)}).ok());
  RawClient stays(test.path), goes(test.path), chooses(test.path);
  stays.go();
  goes.go("other");
  chooses.greet();
  CHECK(goes.error_of(RawClient::write_request(1, 0, page(1))) == kOk);
  test.server.remove_export("other");
  CHECK(watch.expired());
  CHECK(goes.ended());
  CHECK(stays.error_of(RawClient::write_request(1, 0, page(1))) == kOk);
  CHECK(chooses.ask(kOptGo, counted("other") + be(0, 2)) == kRepErrUnknown);
  test.server.remove_export("other");
  CHECK(test.server.add_export({"other", "", false, test.tap}).ok());
  RawClient again(test.path);
  again.go("other");
}

// Exports, connections and the gate change all at once; nothing is left over.
void everything_at_once() {
  TestServer test;
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int part = 0; part < 4; part++) {
    threads.emplace_back([&, part] {
      while (!stop) {
        RawClient client(test.path);
        client.greet();
        client.send(RawClient::option(kOptExportName, text(part % 2 ? "brief" : "disk")));
        char head[10];
        if (recv(client.fd(), head, sizeof head, MSG_WAITALL) != sizeof head) continue;
        Bytes all;
        for (int i = 0; i < 20; i++) {
          uint16_t flags = i % 2 ? kFlagFua : 0;
          all = std::move(all) + RawClient::write_request(i, i * 4096, page(1), flags);
        }
        client.try_send(all);
        if (part == 1) client.ended();
      }
    });
  }
  for (int turn = 0; turn < 100; turn++) {
    auto tap = std::make_shared<Tap>(std::make_unique<TestOrigin>(kSize));
    CHECK(test.server.add_export({"brief", "", false, tap}).ok());
    test.tap->hold();
    CHECK(test.tap->wait_drained(60s));
    usleep(1000);
    test.tap->open();
    test.server.remove_export("brief");
    CHECK(tap->drained());
    CHECK(tap.use_count() == 1);
  }
  stop = true;
  for (auto& thread : threads) thread.join();
  test.server.close();
  CHECK(test.tap->drained());
}

}  // namespace

int main() {
  RUN(held_writes_wait_while_others_pass());
  RUN(refusing_answers_the_held_too());
  RUN(a_busy_reader_gets_its_writes_done());
  RUN(held_writes_are_bounded());
  RUN(throttled_writes_are_delayed_not_lost());
  RUN(held_writes_of_the_vanished_are_dropped());
  RUN(held_writes_of_the_vanished_are_dropped_at_once());
  RUN(a_write_under_way_outlives_its_client());
  RUN(a_slow_flush_stalls_nobody());
  RUN(the_gone_make_room());
  RUN(close_lets_the_work_finish());
  RUN(close_does_not_wait_for_a_deaf_client());
  RUN(removing_an_export_ends_its_connections());
  RUN(everything_at_once());
}
