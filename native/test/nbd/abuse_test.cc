// NBD clients that break the protocol in transmission, or vanish in the middle of it: their
// connection ends, the disk and everybody else are unharmed.
// sanitizers: address, thread
#include <algorithm>
#include <random>

#include "test/nbd/raw_client.h"

using namespace blockferry;
using namespace blockferry::nbd;

namespace {

constexpr uint32_t kSize = TestServer::kSize;

// The server hangs up, counts it, has written nothing, and serves the next one.
void check_cut_off(TestServer& test, const Bytes& bytes) {
  uint64_t before = test.server.stats().protocol_errors;
  RawClient client(test.path);
  client.go();
  client.try_send(bytes);
  CHECK(client.ended());
  test.wait_connections(0);
  CHECK(test.server.stats().protocol_errors == before + 1);
  CHECK(test.origin->content() == Bytes(kSize, 0));
  CHECK(test.tap->drained());
  RawClient next(test.path);
  next.go();
  CHECK(next.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
  next.vanish();
  test.wait_connections(0);
}

void wrong_magic() {
  TestServer test;
  check_cut_off(test, Bytes(28, 0));
  check_cut_off(test, Bytes(28, 0xff));
  check_cut_off(test, RawClient::request(kCmdFlush, 1, 0, 0) + Bytes(28, 1));
  // Structured requests and replies are no requests.
  check_cut_off(test, be(kSimpleReplyMagic, 4) + Bytes(24, 0));
  check_cut_off(test, be(0x21e41c71, 4) + Bytes(28, 0));
}

void oversize_writes() {
  TestServer test;
  for (uint32_t length : {(32u << 20) + 1, 0x7fffffffu, 0xffffffffu}) {
    check_cut_off(test, RawClient::request(kCmdWrite, 1, 0, length) + Bytes(100'000, 1));
  }
}

// The client leaves while a request of its is on the way: nothing of it is done.
void truncated_requests() {
  TestServer test;
  Bytes small = RawClient::write_request(1, 0, Bytes(4096, 1));
  Bytes large = RawClient::write_request(2, 0, Bytes(500'000, 2));
  Bytes refused = RawClient::write_request(3, kSize, Bytes(500'000, 3));
  uint64_t broken = 0;
  for (const Bytes& request : {small, large, refused}) {
    for (size_t length :
         {size_t{1}, size_t{27}, size_t{28}, size_t{29}, request.size() / 2, request.size() - 1}) {
      RawClient client(test.path);
      client.go();
      client.send(Bytes(request.begin(), request.begin() + ptrdiff_t(length)));
      client.vanish();
      test.wait_connections(0);
      CHECK(test.server.stats().protocol_errors == ++broken);
      CHECK(test.origin->content() == Bytes(kSize, 0));
      CHECK(test.tap->drained());
    }
  }
  // Leaving between two requests is no offence.
  RawClient client(test.path);
  client.go();
  CHECK(client.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
  client.vanish();
  test.wait_connections(0);
  CHECK(test.server.stats().protocol_errors == broken);
}

// What came whole before the offence is done, but perhaps never answered.
void an_offence_does_not_undo_what_was_right() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  client.send(RawClient::write_request(1, 0, Bytes(4096, 7)) + Bytes(28, 0xab));
  CHECK(client.ended());
  test.wait_connections(0);
  CHECK(test.origin->content()[0] == 7);
}

// Nor does it leave anything in flight, be it queued or held.
void an_offence_with_requests_under_way() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  test.origin->block();
  client.send(RawClient::write_request(1, 0, Bytes(4096, 1), kFlagFua));
  test.origin->wait_blocked(1);
  test.tap->hold();
  client.send(RawClient::write_request(2, 4096, Bytes(4096, 2)) + Bytes(28, 0xab));
  while (test.server.stats().connections == 1 && !test.tap->drained()) {
    test.origin->release();
    usleep(1000);
  }
  CHECK(client.ended());
  test.wait_connections(0);
  CHECK(test.tap->drained());
  test.tap->open();
  CHECK(test.origin->content()[0] == 1 && test.origin->content()[4096] == 0);
}

void a_hundred_connections_that_say_nothing() {
  NbdServerOptions options;
  options.max_connections = 50;
  TestServer test(options);
  {
    std::vector<RawClient> clients;
    for (int i = 0; i < 100; i++) clients.emplace_back(test.path);
    while (test.server.stats().accepted < 100) usleep(1000);
    CHECK(test.server.stats().connections == 50 && test.server.stats().refused == 50);
    // Who has something to say is heard.
    RawClient client(test.path);
    client.go();
    CHECK(client.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
  }
  test.wait_connections(0);
}

// Random bytes, and good streams with random changes, at every phase.
void garbage(unsigned seed) {
  NbdServerOptions options;
  options.handshake_timeout_ms = 5000;
  TestServer test(options);
  std::mt19937 random(seed);
  for (int round = 0; round < 150; round++) {
    Bytes stream = be(3, 4) + RawClient::option(kOptStructuredReply) +
                   RawClient::option(kOptSetMetaContext,
                                     counted("disk") + be(1, 4) + counted("base:allocation")) +
                   RawClient::option(kOptList) +
                   RawClient::option(kOptGo, counted("disk") + be(1, 2) + be(3, 2));
    size_t handshake = stream.size();
    for (int i = 0; i < 20; i++) {
      uint64_t offset = random() % kSize;
      uint32_t length = random() % 9000;
      auto flags = uint16_t(random() % 64);
      auto command = uint16_t(random() % 10);
      stream = std::move(stream) +
               (command == kCmdWrite ? RawClient::write_request(i, offset, Bytes(length, 5), flags)
                                     : RawClient::request(command, i, offset, length, flags));
    }
    size_t from = round % 3 == 0 ? 0 : handshake;
    for (uint32_t changes = random() % 5; changes > 0; changes--) {
      stream[from + random() % (stream.size() - from)] = uint8_t(random());
    }
    if (round % 5 == 0) stream.resize(random() % stream.size());
    if (round % 7 == 0) std::generate(stream.begin(), stream.end(), std::ref(random));
    RawClient client(test.path);
    client.try_send(stream);
    if (round % 2 == 0) {
      shutdown(client.fd(), SHUT_WR);
      CHECK(client.ended());
    }
  }
  test.wait_connections(0);
  CHECK(test.tap->drained());
  RawClient client(test.path);
  client.go();
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(4096, 1))) == kOk);
}

}  // namespace

int main() {
  RUN(wrong_magic());
  RUN(oversize_writes());
  RUN(truncated_requests());
  RUN(an_offence_does_not_undo_what_was_right());
  RUN(an_offence_with_requests_under_way());
  RUN(a_hundred_connections_that_say_nothing());
  for (unsigned seed = 0; seed < 5; seed++) garbage(seed);
  puts("ok garbage");
}
