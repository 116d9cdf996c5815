// NBD requests over a real connection: what each does, and the replies in both forms.
// sanitizers: address, thread
#include <algorithm>
#include <random>
#include <set>
#include <thread>

#include "test/nbd/raw_client.h"

using namespace blockferry;
using namespace blockferry::nbd;

namespace {

constexpr uint32_t kSize = TestServer::kSize;

Bytes random_bytes(size_t length, unsigned seed) {
  Bytes bytes(length);
  for (size_t i = 0; i < length; i++) bytes[i] = uint8_t((i * 2654435761u >> 13 ^ seed) | 1);
  return bytes;
}

Bytes read(RawClient& client, uint64_t offset, uint32_t length) {
  client.send(RawClient::request(kCmdRead, 77, offset, length));
  auto reply = client.reply(length);
  CHECK(reply.handle == 77 && reply.error == kOk && !reply.structured);
  return reply.data;
}

// Every way a write can take: odd and whole pages, from the receive buffer and its own, queued.
void writes_are_read_back(uint32_t alignment, bool cold) {
  TestServer test({}, alignment);
  test.origin->set_cold(cold);
  RawClient client(test.path);
  client.go();
  Bytes model(kSize);
  std::mt19937 random(alignment);
  for (int i = 0; i < 300; i++) {
    uint32_t most = i % 10 == 0 ? 300'000 : 9000;
    uint32_t length = std::max<uint32_t>(random() % most / alignment * alignment, alignment);
    uint32_t offset = random() % (kSize - length) / alignment * alignment;
    Bytes data = random_bytes(length, i);
    uint16_t flags = i % 3 == 0 ? kFlagFua : 0;
    CHECK(client.error_of(RawClient::write_request(i, offset, data, flags)) == kOk);
    std::copy(data.begin(), data.end(), model.begin() + offset);
    CHECK(read(client, offset, length) == data);
  }
  CHECK(test.origin->content() == model);
  CHECK(read(client, 0, kSize) == model);
  CHECK(test.origin->flushes() >= 100);
  TapStats stats = test.tap->stats();
  CHECK(stats.writes == 300 && stats.reads == 301);
}

void many_requests_at_once() {
  NbdServerOptions options;
  options.queue_depth = 4;
  TestServer test(options);
  RawClient client(test.path);
  client.go();
  Bytes all;
  for (uint64_t i = 0; i < 2000; i++) {
    bool whole = i % 2 == 0;  // a page, or a queued part of one
    Bytes data(whole ? 4096 : 1000, uint8_t(i));
    uint64_t offset = i % 200 * 4096 + (whole ? 0 : 100);
    all = std::move(all) + RawClient::write_request(i, offset, data);
  }
  std::thread sender([&] { client.send(all); });
  std::set<uint64_t> handles;
  for (int i = 0; i < 2000; i++) {
    auto reply = client.reply();
    CHECK(reply.error == kOk);
    CHECK(handles.insert(reply.handle).second);
  }
  sender.join();
  CHECK(test.tap->drained());
  CHECK(test.tap->stats().writes == 2000);
}

// A client that asks for much and reads nothing for now: the server neither blocks for ever nor
// gathers without end, and everything comes in the end.
void replies_wait_for_a_slow_reader() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  constexpr int kReads = 300;
  Bytes all;
  for (int i = 0; i < kReads; i++) {
    all = std::move(all) + RawClient::request(kCmdRead, i, 0, i % 2 ? kSize : 20'000);
  }
  client.send(all);
  usleep(50'000);
  for (int i = 0; i < kReads; i++) {
    auto reply = client.reply(i % 2 ? kSize : 20'000);
    CHECK(reply.handle == uint64_t(i) && reply.error == kOk);
  }
}

void zeroes_trim_cache_and_flush() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(65536, 0xff))) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 2, 4096, 4096)) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 3, 9000, 10, kFlagNoHole)) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 4, 0, 4096, kFlagFastZero)) ==
        kEnotsup);
  CHECK(test.origin->flushes() == 0);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 5, 20000, 1, kFlagFua)) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdTrim, 6, 0, 65536, kFlagFua)) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdFlush, 7, 0, 0)) == kOk);
  CHECK(test.origin->flushes() == 3);
  CHECK(client.error_of(RawClient::request(kCmdCache, 8, 0, kSize)) == kOk);
  Bytes content = test.origin->content();
  uint64_t zeroes = std::count(content.begin(), content.begin() + 65536, 0);
  CHECK(zeroes == 4096 + 10 + 1);
  CHECK(test.tap->stats().writes == 6 && test.tap->stats().flushes == 1);
}

void every_write_like_request_marks() {
  TestServer test;
  auto tracking = std::make_shared<Tracking>(kSize, 4096);
  DirtyMap* map = &tracking->dirty();
  test.tap->track(tracking);
  RawClient client(test.path);
  client.go();
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(4097, 1))) == kOk);
  CHECK(map->count() == 2);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 2, 10 * 4096, 4096)) == kOk);
  CHECK(client.error_of(RawClient::request(kCmdTrim, 3, 20 * 4096, 8192)) == kOk);
  CHECK(client.error_of(RawClient::write_request(4, 100 * 4096, Bytes(200'000, 1))) == kOk);
  CHECK(map->count() == 2 + 1 + 2 + 49 && map->test(10) && map->test(21));
  // One that fails may have written something.
  test.origin->fail_with(Status::from_errno(EIO, "write"));
  CHECK(client.error_of(RawClient::write_request(5, 200 * 4096, Bytes(512, 1))) == kEio);
  CHECK(map->test(200));
  // One that never began has not.
  CHECK(client.error_of(RawClient::write_request(6, kSize - 512, Bytes(513, 1))) == kEnospc);
  CHECK(!map->test(kSize / 4096 - 1));
}

void errors_have_their_numbers() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  const std::pair<int, uint32_t> errors[] = {
      {EIO, kEio}, {ENOSPC, kEnospc}, {EROFS, kEperm}, {ENOMEM, kEnomem}, {ENXIO, kEio}};
  for (auto [error, expected] : errors) {
    test.origin->fail_with(Status::from_errno(error, "test"));
    CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(4096, 1))) == expected);
    CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(4096, 1), kFlagFua)) == expected);
    CHECK(client.error_of(RawClient::request(kCmdFlush, 1, 0, 0)) == expected);
    CHECK(client.error_of(RawClient::request(kCmdRead, 1, 0, 100)) == expected);
    CHECK(client.error_of(RawClient::request(kCmdRead, 1, 0, 100'000)) == expected);
  }
  test.origin->fail_with({});
  CHECK(read(client, 0, 4096) == Bytes(4096, 0));
  CHECK(test.tap->drained());
}

void requests_out_of_range_are_refused() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  struct {
    uint16_t command;
    uint32_t error;
  } commands[] = {
      {kCmdRead, kEinval}, {kCmdTrim, kEinval}, {kCmdCache, kEinval}, {kCmdWriteZeroes, kEnospc}};
  struct {
    uint64_t offset;
    uint32_t length;
  } ranges[] = {{kSize, 1}, {kSize - 1, 2},       {kSize + 1, 1},     {0, kSize + 1},
                {~0ull, 1}, {~0ull - 4095, 4096}, {1ull << 63, 4096}, {0, 0xffffffff}};
  for (auto [offset, length] : ranges) {
    for (auto [command, error] : commands) {
      CHECK(client.error_of(RawClient::request(command, 1, offset, length)) == error);
    }
  }
  // The payload of a refused write is thrown away, be it small or large.
  for (uint32_t length : {1u, 4096u, 100'000u, 32u << 20}) {
    CHECK(client.error_of(RawClient::write_request(1, kSize, Bytes(length, 1))) == kEnospc);
    CHECK(client.error_of(RawClient::write_request(1, ~0ull, Bytes(length, 1))) == kEnospc);
  }
  CHECK(test.origin->content() == Bytes(kSize, 0));
  CHECK(test.server.stats().protocol_errors == 0);
}

void nonsense_requests_are_refused() {
  TestServer test({}, 512);
  RawClient client(test.path);
  client.go();
  auto refused = [&](uint16_t command, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    return client.error_of(RawClient::request(command, 1, offset, length, flags)) == kEinval;
  };
  CHECK(refused(kCmdRead, 0, 0));
  CHECK(refused(kCmdTrim, 0, 0));
  CHECK(refused(kCmdRead, 0, 33 << 20));
  CHECK(refused(kCmdRead, 1, 512));
  CHECK(refused(kCmdRead, 0, 513));
  CHECK(refused(kCmdRead, 0, 512, kFlagNoHole));
  CHECK(refused(kCmdTrim, 0, 512, 1 << 15));
  CHECK(refused(kCmdBlockStatus, 0, 512));
  CHECK(refused(8, 0, 512));
  CHECK(refused(0xffff, 0, 512));
  CHECK(client.error_of(RawClient::write_request(1, 1, Bytes(512, 1))) == kEinval);
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(100, 1))) == kEinval);
  CHECK(client.error_of(RawClient::write_request(1, 0, {})) == kEinval);
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(512, 1), kFlagReqOne)) == kEinval);
  CHECK(read(client, 0, 512) == Bytes(512, 0));
}

void read_only_exports_refuse_writes() {
  TestServer test({}, 1, true);
  RawClient client(test.path);
  CHECK((client.go().flags & kReadOnly) != 0);
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(4096, 1))) == kEperm);
  CHECK(client.error_of(RawClient::write_request(1, 0, Bytes(200'000, 1))) == kEperm);
  CHECK(client.error_of(RawClient::request(kCmdTrim, 1, 0, 4096)) == kEperm);
  CHECK(client.error_of(RawClient::request(kCmdWriteZeroes, 1, 0, 4096)) == kEperm);
  CHECK(read(client, 0, 4096) == Bytes(4096, 0));
}

void structured_reads_skip_zeroes() {
  TestServer test;
  RawClient client(test.path);
  client.go("disk", true);
  Bytes data = random_bytes(131072, 1);
  CHECK(client.error_of(RawClient::write_request(1, 65536, data)) == kOk);

  client.send(RawClient::request(kCmdRead, 2, 0, kSize));
  Bytes seen(kSize, 0xee);
  uint64_t holes = 0;
  for (bool done = false; !done;) {
    auto chunk = client.reply();
    CHECK(chunk.structured && chunk.handle == 2);
    done = chunk.done;
    uint64_t offset = get64(&chunk.data[0]);
    if (chunk.type == kChunkHole) {
      uint32_t length = get32(&chunk.data[8]);
      std::fill_n(seen.begin() + offset, length, 0);
      holes += length;
    } else {
      CHECK(chunk.type == kChunkData);
      std::copy(chunk.data.begin() + 8, chunk.data.end(), seen.begin() + offset);
    }
  }
  CHECK(holes == kSize - data.size());
  CHECK(seen == test.origin->content());

  // In one piece, when asked for or when small.
  for (auto [length, flags] : {std::pair{kSize, kFlagDontFragment}, {40'000u, CommandFlag{}}}) {
    client.send(RawClient::request(kCmdRead, 3, 0, length, flags));
    auto chunk = client.reply();
    CHECK(chunk.structured && chunk.done && chunk.type == kChunkData);
    CHECK(chunk.data.size() == 8 + length);
  }
  CHECK(client.error_of(RawClient::request(kCmdRead, 4, kSize, 1)) == kEinval);
}

void block_status_tells_data_from_holes() {
  TestServer test;
  RawClient client(test.path);
  client.go("disk", true, true);
  auto status = [&](uint64_t offset, uint32_t length, uint16_t flags = 0) {
    client.send(RawClient::request(kCmdBlockStatus, 5, offset, length, flags));
    auto chunk = client.reply();
    CHECK(chunk.done && chunk.type == kChunkBlockStatus);
    return chunk.data;
  };
  uint32_t hole = kStateHole | kStateZero;
  Bytes id = be(kAllocationContext, 4);
  CHECK(status(0, kSize) == id + be(kSize / 2, 4) + be(0, 4) + be(kSize / 2, 4) + be(hole, 4));
  CHECK(status(0, kSize, kFlagReqOne) == id + be(kSize / 2, 4) + be(0, 4));
  CHECK(status(kSize / 2 - 1, 2) == id + be(1, 4) + be(0, 4) + be(1, 4) + be(hole, 4));
  CHECK(status(kSize - 1, 1) == id + be(1, 4) + be(hole, 4));
  CHECK(client.error_of(RawClient::request(kCmdBlockStatus, 6, kSize, 1)) == kEinval);
}

void disconnect_ends_the_connection() {
  TestServer test;
  RawClient client(test.path);
  client.go();
  client.send(RawClient::write_request(1, 0, Bytes(4096, 1)) +
              RawClient::write_request(2, 1, Bytes(100, 2), kFlagFua) +
              RawClient::request(kCmdDisconnect, 3, 0, 0) +
              RawClient::write_request(4, 8192, Bytes(4096, 4)));
  CHECK(client.reply().error == kOk);
  CHECK(client.reply().error == kOk);
  CHECK(client.ended());
  test.wait_connections(0);
  CHECK(test.origin->content()[1] == 2);
  CHECK(test.origin->content()[8192] == 0);
  CHECK(test.server.stats().protocol_errors == 0);
}

void connections_share_the_disk() {
  TestServer test;
  std::vector<std::thread> threads;
  for (int part = 0; part < 8; part++) {
    threads.emplace_back([&, part] {
      RawClient client(test.path);
      client.go();
      for (int i = 0; i < 200; i++) {
        uint64_t offset = part * (kSize / 8) + i % 32 * 4096;
        CHECK(client.error_of(RawClient::write_request(i, offset, Bytes(4096, uint8_t(i)))) == kOk);
        CHECK(read(client, offset, 4096) == Bytes(4096, uint8_t(i)));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(test.tap->stats().writes == 1600 && test.tap->drained());
}

}  // namespace

int main() {
  RUN(writes_are_read_back(1, false));
  RUN(writes_are_read_back(1, true));
  RUN(writes_are_read_back(512, false));
  RUN(many_requests_at_once());
  RUN(replies_wait_for_a_slow_reader());
  RUN(zeroes_trim_cache_and_flush());
  RUN(every_write_like_request_marks());
  RUN(errors_have_their_numbers());
  RUN(requests_out_of_range_are_refused());
  RUN(nonsense_requests_are_refused());
  RUN(read_only_exports_refuse_writes());
  RUN(structured_reads_skip_zeroes());
  RUN(block_status_tells_data_from_holes());
  RUN(disconnect_ends_the_connection());
  RUN(connections_share_the_disk());
}
