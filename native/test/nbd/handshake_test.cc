// The NBD handshake: what clients may ask, and what they may get wrong.
// sanitizers: address, thread
#include "test/nbd/raw_client.h"

using namespace blockferry;
using namespace blockferry::nbd;

namespace {

void go_agrees_on_an_export() {
  TestServer test({}, 512);
  RawClient client(test.path);
  auto agreed = client.go("disk", true, true);
  CHECK(agreed.size == TestServer::kSize);
  CHECK(agreed.flags == (kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes |
                         kSendDontFragment | kCanMultiConn | kSendCache | kSendFastZero));
  CHECK(agreed.least_block == 512);
  CHECK(client.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
}

void info_tells_what_was_asked_for() {
  TestServer test;
  RawClient client(test.path);
  client.greet();
  client.send(RawClient::option(kOptInfo, counted("disk") + be(3, 2) + be(kInfoName, 2) +
                                              be(kInfoDescription, 2) + be(77, 2)));
  std::vector<Bytes> infos;
  for (;;) {
    auto reply = client.option_reply();
    CHECK(reply.option == kOptInfo);
    if (reply.type == kRepAck) break;
    CHECK(reply.type == kRepInfo);
    infos.push_back(reply.data);
  }
  CHECK(infos.size() == 4);
  CHECK(infos[1] == be(kInfoBlockSize, 2) + be(1, 4) + be(4096, 4) + be(32 << 20, 4));
  CHECK(infos[2] == be(kInfoName, 2) + text("disk"));
  CHECK(infos[3] == be(kInfoDescription, 2) + text("a test"));
  // The handshake goes on.
  CHECK(client.ask(kOptAbort) == kRepAck);
  CHECK(client.ended());
}

void the_only_export_is_the_default() {
  TestServer test;
  RawClient client(test.path);
  CHECK(client.go("").size == TestServer::kSize);
  CHECK(test.server.add_export({"other", "", false, test.tap}).ok());
  RawClient confused(test.path);
  confused.greet();
  CHECK(confused.ask(kOptGo, counted("") + be(0, 2)) == kRepErrUnknown);
  CHECK(confused.ask(kOptGo, counted("nothing") + be(0, 2)) == kRepErrUnknown);
  CHECK(confused.ask(kOptStructuredReply) == kRepAck);
}

// Of a disk that came with another size than what it came to.
void the_size_is_what_it_is_now() {
  TestServer test;
  auto tap = std::make_shared<Tap>(make_memory_origin(1 << 20));
  CHECK(test.server.add_export({"sized", "", false, tap}).ok());
  CHECK(tap->set_size(4096 + 512).ok());
  RawClient client(test.path);
  CHECK(client.go("sized").size == 4096 + 512);
  CHECK(client.error_of(RawClient::request(kCmdTrim, 1, 4096, 512)) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdTrim, 1, 4096, 1024)) == kEinval);
  CHECK(client.error_of(RawClient::write_request(1, 4096 + 512, Bytes(512))) == kEnospc);
  CHECK(tap->set_size(1 << 20).code == Code::bad_size);
  client.vanish();
  test.wait_connections(0);
  CHECK(tap->set_size(1 << 20).ok());
}

// It changes when a client has been told, and is not known to use it yet.
class ShrinkingOrigin : public TestOrigin {
 public:
  ShrinkingOrigin() : TestOrigin(1 << 20) {}
  uint64_t size() const override { return asked_++ < 2 ? 1 << 20 : 4096; }

 private:
  mutable std::atomic<int> asked_{0};
};

void a_client_that_was_told_another_size_is_cut_off() {
  TestServer test;
  auto tap = std::make_shared<Tap>(std::make_unique<ShrinkingOrigin>());
  CHECK(test.server.add_export({"shrinking", "", false, tap}).ok());
  RawClient client(test.path);
  CHECK(client.go("shrinking").size == 1 << 20);
  CHECK(client.ended());
  RawClient next(test.path);
  CHECK(next.go("shrinking").size == 4096);
  CHECK(next.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
}

void names_must_be_free_and_short() {
  TestServer test;
  CHECK(test.server.add_export({"disk", "", false, test.tap}).code == Code::busy);
  CHECK(test.server.add_export({std::string(4097, 'x'), "", false, test.tap}).code ==
        Code::invalid);
  std::string longest(4096, 'x');
  CHECK(test.server.add_export({longest, "", false, test.tap}).ok());
  RawClient client(test.path);
  CHECK(client.go(longest).size == TestServer::kSize);
}

void list_names_every_export() {
  TestServer test;
  CHECK(test.server.add_export({"another", "more words", true, test.tap}).ok());
  RawClient client(test.path);
  client.greet();
  client.send(RawClient::option(kOptList));
  auto reply = client.option_reply();
  CHECK(reply.type == kRepServer && reply.data == counted("another") + text("more words"));
  reply = client.option_reply();
  CHECK(reply.type == kRepServer && reply.data == counted("disk") + text("a test"));
  CHECK(client.option_reply().type == kRepAck);
  CHECK(client.ask(kOptList, be(0, 1)) == kRepErrInvalid);
}

void export_name_is_the_old_way() {
  TestServer test({}, 1, true);
  for (bool no_zeroes : {false, true}) {
    RawClient client(test.path);
    client.greet(no_zeroes ? kFixedNewstyle | kNoZeroes : kFixedNewstyle);
    client.send(RawClient::option(kOptExportName, text("disk")));
    Bytes head = client.receive(no_zeroes ? 10 : 134);
    CHECK(get64(&head[0]) == TestServer::kSize);
    CHECK(get16(&head[8]) == (kHasFlags | kReadOnly | kSendFlush | kSendCache | kCanMultiConn));
    CHECK(client.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
  }
  RawClient client(test.path);
  client.greet();
  client.send(RawClient::option(kOptExportName, text("nothing")));
  CHECK(client.ended());
}

void unknown_and_malformed_options_are_refused() {
  TestServer test;
  RawClient client(test.path);
  client.greet();
  CHECK(client.ask(kOptStartTls) == kRepErrUnsupported);
  CHECK(client.ask(4711, Bytes(60'000, 7)) == kRepErrUnsupported);
  CHECK(client.ask(kOptStructuredReply, be(1, 1)) == kRepErrInvalid);
  for (uint32_t option : {kOptGo, kOptInfo}) {
    CHECK(client.ask(option) == kRepErrInvalid);
    CHECK(client.ask(option, be(100, 4) + text("disk")) == kRepErrInvalid);
    CHECK(client.ask(option, be(0xffffffff, 4) + text("disk")) == kRepErrInvalid);
    CHECK(client.ask(option, be(5000, 4) + Bytes(5002, 'x')) == kRepErrInvalid);
    CHECK(client.ask(option, counted("disk") + be(2, 2) + be(1, 2)) == kRepErrInvalid);
    CHECK(client.ask(option, counted("disk") + be(0, 2) + be(1, 2)) == kRepErrInvalid);
    CHECK(client.ask(option, counted("disk") + be(0xffff, 2)) == kRepErrInvalid);
  }
  CHECK(client.ask(kOptSetMetaContext, counted("disk") + be(0, 4)) == kRepErrInvalid);
  CHECK(client.ask(kOptStructuredReply) == kRepAck);
  CHECK(client.ask(kOptSetMetaContext, counted("disk") + be(0xffffffff, 4)) == kRepErrInvalid);
  CHECK(client.ask(kOptSetMetaContext, counted("disk") + be(0, 4) + be(0, 1)) == kRepErrInvalid);
  CHECK(client.ask(kOptSetMetaContext, counted("none") + be(0, 4)) == kRepErrUnknown);
  CHECK(test.server.stats().protocol_errors == 0);
}

void contexts_are_listed_and_chosen() {
  TestServer test;
  RawClient client(test.path);
  client.greet();
  CHECK(client.ask(kOptStructuredReply) == kRepAck);
  auto contexts = [&](uint32_t option, const Bytes& queries) {
    client.send(RawClient::option(option, counted("disk") + queries));
    int count = 0;
    for (auto reply = client.option_reply(); reply.type != kRepAck; count++) {
      CHECK(reply.type == kRepMetaContext);
      CHECK(Bytes(reply.data.begin() + 4, reply.data.end()) == text("base:allocation"));
      reply = client.option_reply();
    }
    return count;
  };
  CHECK(contexts(kOptListMetaContext, be(0, 4)) == 1);
  CHECK(contexts(kOptListMetaContext, be(1, 4) + counted("base:")) == 1);
  CHECK(contexts(kOptListMetaContext, be(1, 4) + counted("qemu:dirty-bitmap:x")) == 0);
  CHECK(contexts(kOptSetMetaContext,
                 be(2, 4) + counted("base:allocation") + counted("base:allocation")) == 1);
  // The last choice counts: here, of nothing.
  CHECK(contexts(kOptSetMetaContext, be(1, 4) + counted("base:")) == 0);
  client.send(RawClient::option(kOptGo, counted("disk") + be(0, 2)));
  while (client.option_reply().type != kRepAck) {
  }
  CHECK(client.error_of(RawClient::request(kCmdBlockStatus, 1, 0, 4096)) == kEinval);
}

void broken_handshakes_end_the_connection() {
  TestServer test;
  uint64_t broken = 0;
  auto ends = [&](const Bytes& bytes, bool counts = true) {
    RawClient client(test.path);
    client.try_send(bytes);
    CHECK(client.ended());
    if (counts) broken++;
    test.wait_connections(0);
    CHECK(test.server.stats().protocol_errors == broken);
  };
  ends(be(0xffffffff, 4));
  ends(be(4, 4));
  ends(be(3, 4) + Bytes(16, 0xee));
  ends(be(3, 4) + be(kOptionMagic, 8) + be(kOptGo, 4) + be(0xffffffff, 4));
  ends(be(3, 4) + be(kOptionMagic, 8) + be(4711, 4) + be(65537, 4));
}

// A handshake that comes byte by byte is one like any other.
void one_byte_at_a_time() {
  TestServer test;
  RawClient client(test.path);
  client.receive(18);
  Bytes all = be(3, 4) + RawClient::option(kOptGo, counted("disk") + be(0, 2)) +
              RawClient::write_request(5, 4096, Bytes(300, 9)) +
              RawClient::request(kCmdFlush, 6, 0, 0);
  for (uint8_t byte : all) client.send({byte});
  while (client.option_reply().type != kRepAck) {
  }
  CHECK(client.reply().handle + client.reply().handle == 5 + 6);
  CHECK(test.origin->content()[4096 + 299] == 9);
}

void silent_and_slow_clients_are_cut_off() {
  NbdServerOptions options;
  options.handshake_timeout_ms = 200;
  TestServer test(options);
  RawClient silent(test.path), slow(test.path);
  CHECK(silent.ended());
  while (slow.try_send(be(0, 1))) usleep(20'000);  // "no flags", then options of zeroes
  test.wait_connections(0);
  // Who got through in time may be silent as long as it likes.
  RawClient client(test.path);
  client.go();
  usleep(400'000);
  CHECK(client.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
}

void only_so_many_connections() {
  NbdServerOptions options;
  options.max_connections = 64;
  TestServer test(options);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 64; i++) {
    clients.push_back(std::make_unique<RawClient>(test.path));
    clients.back()->go();
  }
  for (int i = 0; i < 36; i++) {
    RawClient refused(test.path);
    CHECK(refused.ended());
  }
  NbdServerStats stats = test.server.stats();
  CHECK(stats.connections == 64 && stats.accepted == 64 && stats.refused == 36);
  for (auto& client : clients) {
    CHECK(client->error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == kOk);
  }
  clients.clear();
  test.wait_connections(0);
  RawClient client(test.path);
  client.go();
  CHECK(test.server.stats().accepted == 65);
}

}  // namespace

int main() {
  RUN(go_agrees_on_an_export());
  RUN(info_tells_what_was_asked_for());
  RUN(the_only_export_is_the_default());
  RUN(the_size_is_what_it_is_now());
  RUN(a_client_that_was_told_another_size_is_cut_off());
  RUN(names_must_be_free_and_short());
  RUN(list_names_every_export());
  RUN(export_name_is_the_old_way());
  RUN(unknown_and_malformed_options_are_refused());
  RUN(contexts_are_listed_and_chosen());
  RUN(broken_handshakes_end_the_connection());
  RUN(one_byte_at_a_time());
  RUN(silent_and_slow_clients_are_cut_off());
  RUN(only_so_many_connections());
}
