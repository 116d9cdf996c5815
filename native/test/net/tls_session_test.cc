// TLS under a Socket: both directions at once, key updates, ends that are none, peers that are
// somebody else or nobody.
// sanitizers: address, thread
#include "net/tls_session.h"

#include <gnutls/gnutls.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "net/psk_file.h"
#include "test/net/tls_peers.h"

using namespace blockferry;

namespace {

#ifdef __SANITIZE_THREAD__
constexpr uint64_t kTotal = 8 << 20;
#else
constexpr uint64_t kTotal = 64 << 20;
#endif

// Byte number n of a stream.
uint8_t byte_at(uint64_t n) { return static_cast<uint8_t>(n * 31 + (n >> 13)); }

// In parts of all sizes, as frames are.
void send_stream(Socket& socket) {
  std::vector<uint8_t> bytes(1 << 20);
  uint64_t at = 0;
  for (size_t size = 1; at < kTotal; size = size * 7 % 900'001 + 1) {
    size_t length = std::min<uint64_t>(std::min(size, bytes.size()), kTotal - at);
    for (size_t i = 0; i < length; i++) bytes[i] = byte_at(at + i);
    size_t head = std::min<size_t>(length, 48);
    iovec parts[2] = {{bytes.data(), head}, {bytes.data() + head, length - head}};
    CHECK(socket.send(parts, 2).ok());
    at += length;
  }
}

void receive_stream(Socket& socket) {
  std::vector<uint8_t> bytes(100'000);
  for (uint64_t at = 0; at < kTotal;) {
    size_t got = 0;
    Status status = socket.receive(bytes.data(), bytes.size(), in_ms(60'000), &got);
    if (!status.ok()) fprintf(stderr, "%s\n", status.operation.c_str());
    CHECK(status.ok());
    for (size_t i = 0; i < got; i++) CHECK(bytes[i] == byte_at(at + i));
    at += got;
  }
}

void both_directions_at_once() {
  auto credentials = psk_credentials("alice", kKey);
  SecurePair pair(credentials, credentials);
  CHECK(pair.connected.ok() && pair.accepted.ok());
  CHECK(pair.server->peer() == "alice");
  std::thread threads[] = {
      std::thread([&] { send_stream(*pair.client); }),
      std::thread([&] { send_stream(*pair.server); }),
      std::thread([&] { receive_stream(*pair.client); }),
      std::thread([&] { receive_stream(*pair.server); }),
  };
  for (auto& thread : threads) thread.join();
}

// A client that is GnuTLS alone, on one thread.
class PlainGnuTls {
 public:
  explicit PlainGnuTls(int fd) {
    CHECK(gnutls_init(&session_, GNUTLS_CLIENT) == 0);
    CHECK(gnutls_priority_set_direct(session_, "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK",
                                     nullptr) == 0);
    gnutls_psk_allocate_client_credentials(&credentials_);
    gnutls_datum_t key{reinterpret_cast<unsigned char*>(const_cast<char*>(kKey.data())),
                       static_cast<unsigned>(kKey.size())};
    gnutls_psk_set_client_credentials(credentials_, "alice", &key, GNUTLS_PSK_KEY_HEX);
    gnutls_credentials_set(session_, GNUTLS_CRD_PSK, credentials_);
    gnutls_transport_set_int(session_, fd);
  }
  ~PlainGnuTls() {
    gnutls_deinit(session_);
    gnutls_psk_free_client_credentials(credentials_);
  }
  gnutls_session_t session() { return session_; }

 private:
  gnutls_session_t session_ = nullptr;
  gnutls_psk_client_credentials_t credentials_ = nullptr;
};

// The peer renews its keys and asks us to renew ours, while both of our threads are at work.
void keys_are_updated_under_way() {
  SocketPair pair;
  Socket server(std::move(pair.other));
  PlainGnuTls client(pair.one.get());
  auto credentials = psk_credentials("alice", kKey);
  std::thread serving([&] {
    auto session = std::make_unique<TlsSession>(credentials, TlsSession::Side::server, "");
    CHECK(server.secure(std::move(session), in_ms(10'000)).ok());
    std::thread receiving([&] { receive_stream(server); });
    send_stream(server);
    receiving.join();
  });
  CHECK(gnutls_handshake(client.session()) == 0);
  std::vector<uint8_t> out(16'000), in(16'384);
  uint64_t sent = 0, received = 0;
  auto next_update = std::chrono::steady_clock::now();
  unsigned updates = 0;
  while (sent < kTotal || received < kTotal) {
    if (sent < kTotal) {
      if (std::chrono::steady_clock::now() >= next_update) {
        CHECK(gnutls_session_key_update(client.session(), GNUTLS_KU_PEER) == 0);
        updates++;
        // GnuTLS takes eight a second for an attack.
        next_update = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
      }
      size_t length = std::min<uint64_t>(out.size(), kTotal - sent);
      for (size_t i = 0; i < length; i++) out[i] = byte_at(sent + i);
      ssize_t put = gnutls_record_send(client.session(), out.data(), length);
      CHECK(put > 0);
      sent += static_cast<uint64_t>(put);
    }
    ssize_t got =
        received < kTotal ? gnutls_record_recv(client.session(), in.data(), in.size()) : 0;
    if (got == GNUTLS_E_AGAIN) continue;
    CHECK(got >= 0);
    for (ssize_t i = 0; i < got; i++) CHECK(in[i] == byte_at(received + static_cast<uint64_t>(i)));
    received += static_cast<uint64_t>(got);
  }
  serving.join();
  CHECK(updates > 1);
}

void an_end_is_never_a_clean_one() {
  auto credentials = psk_credentials("alice", kKey);
  for (bool goodbye : {true, false}) {
    SecurePair pair(credentials, credentials);
    CHECK(pair.connected.ok() && pair.accepted.ok());
    if (goodbye)
      pair.client->shut_down();
    else
      pair.client->cut();
    uint8_t byte;
    size_t got = 0;
    Status status = pair.server->receive(&byte, 1, in_ms(10'000), &got);
    CHECK(status.code == Code::peer_gone);
    CHECK((status.operation.find("goodbye") == std::string::npos) == goodbye);
  }
}

void strangers_are_told_apart() {
  auto alice = psk_credentials("alice", kKey);
  for (auto& other : {psk_credentials("alice", kOtherKey), psk_credentials("bob", kKey)}) {
    SecurePair pair(other, alice);
    CHECK(pair.accepted.code == Code::unauthorized);
    CHECK(pair.connected.code == Code::unauthorized);
    CHECK(pair.connected.operation.find(kKey) == std::string::npos);
  }
}

// Slowly enough that no single read is late.
void the_deadline_is_for_the_whole_handshake() {
  SocketPair pair;
  Socket server(std::move(pair.other));
  std::atomic<bool> over{false};
  std::thread trickle([&] {
    uint8_t start[] = {22, 3, 1, 2, 0};
    for (size_t i = 0; !over.load(); i++) {
      uint8_t byte = i < sizeof start ? start[i] : 1;
      if (send(pair.one.get(), &byte, 1, MSG_NOSIGNAL) < 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  auto began = std::chrono::steady_clock::now();
  auto session =
      std::make_unique<TlsSession>(psk_credentials("alice", kKey), TlsSession::Side::server, "");
  CHECK(server.secure(std::move(session), in_ms(400)).code == Code::timeout);
  CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(5));
  over = true;
  server.cut();
  trickle.join();
}

void a_plain_peer_is_told_so() {
  SocketPair pair;
  Socket server(std::move(pair.other));
  CHECK(send(pair.one.get(), "BFRY", 4, 0) == 4);
  auto session =
      std::make_unique<TlsSession>(psk_credentials("alice", kKey), TlsSession::Side::server, "");
  CHECK(server.secure(std::move(session), in_ms(10'000)).code == Code::tls);
  iovec part{const_cast<char*>("plain"), 5};
  CHECK(server.send(&part, 1).ok());
}

// Nothing plain follows a handshake that failed for another reason.
void no_plain_text_after_a_handshake() {
  SocketPair pair;
  Socket server(std::move(pair.other));
  uint8_t nonsense[] = {22, 3, 1, 0, 4, 99, 0, 0, 0};
  CHECK(send(pair.one.get(), nonsense, sizeof nonsense, 0) == sizeof nonsense);
  auto session =
      std::make_unique<TlsSession>(psk_credentials("alice", kKey), TlsSession::Side::server, "");
  CHECK(!server.secure(std::move(session), in_ms(10'000)).ok());
  iovec part{const_cast<char*>("plain"), 5};
  CHECK(server.send(&part, 1).code == Code::closed);
}

Code code_of_file(const std::string& text, mode_t mode = 0600) {
  TemporaryFolder folder;
  PskKeys keys;
  Status status = read_psk_file(write_file(folder, "keys", text, mode), &keys);
  CHECK(status.operation.find(kKey) == std::string::npos);  // no secret in a message
  return status.code;
}

void key_files() {
  CHECK(code_of_file("alice:" + kKey + "\n") == Code::ok);
  CHECK(code_of_file("\nalice:" + kKey + "\r\nbob:" + kOtherKey) == Code::ok);
  CHECK(code_of_file("#616c:" + kKey) == Code::ok);
  CHECK(code_of_file("alice:" + kKey, 0640) == Code::no_permission);
  CHECK(code_of_file("alice:" + kKey, 0604) == Code::no_permission);
  for (const std::string& wrong : std::initializer_list<std::string>{
           "", kKey, "alice:", ":" + kKey, "alice:" + kKey + "g", "alice:" + kKey + " ",
           "alice:abcd", "#61g:" + kKey, "#:" + kKey, "#00:" + kKey, "alice:" + kKey + "a",
           "a:" + kKey + "\na:" + kOtherKey, std::string(129, 'a') + ":" + kKey}) {
    CHECK(code_of_file(wrong) == Code::invalid);
  }
  PskKeys keys;
  CHECK(read_psk_file("/nowhere/keys", &keys).code == Code::not_found);
  CHECK(read_psk_file("/", &keys).code != Code::ok);
}

}  // namespace

int main() {
  RUN(key_files());
  RUN(both_directions_at_once());
  RUN(keys_are_updated_under_way());
  RUN(an_end_is_never_a_clean_one());
  RUN(strangers_are_told_apart());
  RUN(the_deadline_is_for_the_whole_handshake());
  RUN(a_plain_peer_is_told_so());
  RUN(no_plain_text_after_a_handshake());
}
