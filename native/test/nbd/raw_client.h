// An NBD client for tests that says exactly what it is told to, wrong things included, and a
// server for it. A reply that does not come within a minute fails the test.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "nbd/protocol.h"
#include "nbd/server.h"
#include "test/check.h"
#include "test/nbd/test_origin.h"
#include "test/temporary_folder.h"

namespace blockferry {

using Bytes = std::vector<uint8_t>;

inline Bytes be(uint64_t value, int size) {
  Bytes bytes;
  for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) bytes.push_back(uint8_t(value >> shift));
  return bytes;
}
inline Bytes operator+(Bytes left, const Bytes& right) {
  left.insert(left.end(), right.begin(), right.end());
  return left;
}
inline Bytes text(const std::string& words) { return Bytes(words.begin(), words.end()); }
inline Bytes counted(const std::string& words) { return be(words.size(), 4) + text(words); }

class RawClient {
 public:
  struct OptionReply {
    uint32_t option, type;
    Bytes data;
  };
  // A simple reply, or one chunk of a structured one (type kChunkNone for a simple one).
  struct Reply {
    bool structured;
    bool done;
    uint16_t type;
    uint64_t handle;
    uint32_t error;
    Bytes data;  // a chunk's payload
  };

  explicit RawClient(const std::string& path) : fd_(socket(AF_UNIX, SOCK_STREAM, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path.data(), path.size());
    CHECK(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    limit_patience();
  }
  // Over TCP, to a port of this machine.
  explicit RawClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    limit_patience();
  }

  int fd() const { return fd_.get(); }
  void vanish() { fd_.reset(); }

  // False when the server has hung up.
  bool try_send(const Bytes& bytes) {
    for (size_t done = 0; done < bytes.size();) {
      ssize_t put = ::send(fd_.get(), &bytes[done], bytes.size() - done, MSG_NOSIGNAL);
      if (put < 0) return false;
      done += size_t(put);
    }
    return true;
  }
  void send(const Bytes& bytes) { CHECK(try_send(bytes)); }
  Bytes receive(size_t length) {
    Bytes bytes(length);
    CHECK(length == 0 || recv(fd_.get(), bytes.data(), length, MSG_WAITALL) == ssize_t(length));
    return bytes;
  }
  // Waits for the server to hang up, whatever it still says.
  bool ended() {
    char buffer[4096];
    ssize_t got;
    while ((got = recv(fd_.get(), buffer, sizeof buffer, 0)) > 0) {
    }
    return got == 0 || errno == ECONNRESET;
  }

  void greet(uint32_t flags = nbd::kFixedNewstyle | nbd::kNoZeroes) {
    CHECK(receive(18) == be(nbd::kServerMagic, 8) + be(nbd::kOptionMagic, 8) + be(3, 2));
    send(be(flags, 4));
  }
  static Bytes option(uint32_t number, const Bytes& data = {}) {
    return be(nbd::kOptionMagic, 8) + be(number, 4) + be(data.size(), 4) + data;
  }
  OptionReply option_reply() {
    Bytes head = receive(20);
    CHECK(nbd::get64(&head[0]) == nbd::kOptionReplyMagic);
    return {nbd::get32(&head[8]), nbd::get32(&head[12]), receive(nbd::get32(&head[16]))};
  }
  // Sends an option and answers the type of its one reply.
  uint32_t ask(uint32_t number, const Bytes& data = {}) {
    send(option(number, data));
    OptionReply reply = option_reply();
    CHECK(reply.option == number);
    return reply.type;
  }

  struct Agreed {
    uint64_t size = 0;
    uint16_t flags = 0;
    uint32_t least_block = 0;
  };
  // The whole handshake.
  Agreed go(const std::string& name = "disk", bool structured = false, bool context = false) {
    greet();
    if (structured) CHECK(ask(nbd::kOptStructuredReply) == nbd::kRepAck);
    if (context) {
      send(option(nbd::kOptSetMetaContext, counted(name) + be(1, 4) + counted("base:allocation")));
      CHECK(option_reply().type == nbd::kRepMetaContext);
      CHECK(option_reply().type == nbd::kRepAck);
    }
    send(option(nbd::kOptGo, counted(name) + be(0, 2)));
    Agreed agreed;
    for (;;) {
      OptionReply reply = option_reply();
      if (reply.type == nbd::kRepAck) return agreed;
      CHECK(reply.type == nbd::kRepInfo);
      uint16_t info = nbd::get16(&reply.data[0]);
      if (info == nbd::kInfoExport) {
        agreed.size = nbd::get64(&reply.data[2]);
        agreed.flags = nbd::get16(&reply.data[10]);
      }
      if (info == nbd::kInfoBlockSize) agreed.least_block = nbd::get32(&reply.data[2]);
    }
  }

  static Bytes request(uint16_t command, uint64_t handle, uint64_t offset, uint32_t length,
                       uint16_t flags = 0) {
    return be(nbd::kRequestMagic, 4) + be(flags, 2) + be(command, 2) + be(handle, 8) +
           be(offset, 8) + be(length, 4);
  }
  static Bytes write_request(uint64_t handle, uint64_t offset, const Bytes& data,
                             uint16_t flags = 0) {
    return request(nbd::kCmdWrite, handle, offset, uint32_t(data.size()), flags) + data;
  }

  // `length`: of the data that a simple reply to a read carries.
  Reply reply(uint32_t length = 0) {
    uint32_t magic = nbd::get32(receive(4).data());
    if (magic == nbd::kSimpleReplyMagic) {
      Bytes head = receive(12);
      Reply reply{false, true, nbd::kChunkNone, nbd::get64(&head[4]), nbd::get32(&head[0]), {}};
      if (reply.error == 0) reply.data = receive(length);
      return reply;
    }
    CHECK(magic == nbd::kStructuredReplyMagic);
    Bytes head = receive(16);
    Reply reply{true, nbd::get16(&head[0]) == 1,     nbd::get16(&head[2]), nbd::get64(&head[4]),
                0,    receive(nbd::get32(&head[12]))};
    if (reply.type == nbd::kChunkError) reply.error = nbd::get32(&reply.data[0]);
    return reply;
  }
  // Sends a request and answers the error in its reply, which must be a simple one or an error.
  uint32_t error_of(const Bytes& request) {
    send(request);
    return reply().error;
  }

 private:
  void limit_patience() {
    timeval limit{60, 0};
    CHECK(setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  }

  FileDescriptor fd_;
};

// A server with one export, "disk", on a Unix socket of its own, and over TCP where listen_tcp()
// is called.
class TestServer {
 public:
  static constexpr uint64_t kSize = 1 << 20;

  explicit TestServer(NbdServerOptions options = {}, uint32_t alignment = 1, bool read_only = false)
      : server(options) {
    auto memory = std::make_unique<TestOrigin>(kSize, alignment);
    origin = memory.get();
    tap = std::make_shared<Tap>(std::move(memory));
    path = folder_ / "socket";
    ListenAddress bound;
    CHECK(server.add_export({"disk", "a test", read_only, tap}).ok());
    CHECK(server.listen({path, "", 0}, &bound).ok());
    CHECK(bound.unix_path == path);
  }
  ~TestServer() {
    server.close();
    CHECK(access(path.c_str(), F_OK) != 0);
  }

  uint16_t listen_tcp() {
    ListenAddress bound;
    CHECK(server.listen({"", "127.0.0.1", 0}, &bound).ok());
    return bound.port;
  }
  // Waits until the server has that many connections.
  void wait_connections(uint64_t count) {
    while (server.stats().connections != count) usleep(1000);
  }

  NbdServer server;
  TestOrigin* origin;
  std::shared_ptr<Tap> tap;
  std::string path;

 private:
  TemporaryFolder folder_;
};

}  // namespace blockferry
