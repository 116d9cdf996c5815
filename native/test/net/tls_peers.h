// Keys and peers for the tests of TLS.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "net/socket.h"
#include "test/check.h"
#include "test/socket_pair.h"
#include "test/temporary_folder.h"

namespace blockferry {

inline const std::string kKey(64, 'a'), kOtherKey(64, 'b');

inline std::string write_file(const TemporaryFolder& folder, const std::string& name,
                              const std::string& text, mode_t mode = 0600) {
  std::string path = folder / name;
  FILE* file = fopen(path.c_str(), "w");
  CHECK(file != nullptr && fwrite(text.data(), 1, text.size(), file) == text.size());
  CHECK(fclose(file) == 0 && chmod(path.c_str(), mode) == 0);
  return path;
}

inline std::shared_ptr<const TlsCredentials> psk_credentials(const std::string& identity,
                                                             const std::string& key) {
  TemporaryFolder folder;
  TlsFiles files;
  files.psk_key_file = write_file(folder, "keys", identity + ":" + key + "\n");
  std::shared_ptr<const TlsCredentials> credentials;
  CHECK(TlsCredentials::load(files, &credentials).ok());
  return credentials;
}

inline Deadline in_ms(int ms) {
  return std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
}

// Two ends that have shaken hands, or have found out why not.
struct SecurePair {
  SecurePair(const std::shared_ptr<const TlsCredentials>& source,
             const std::shared_ptr<const TlsCredentials>& destination) {
    SocketPair pair;
    client = std::make_unique<Socket>(std::move(pair.one));
    server = std::make_unique<Socket>(std::move(pair.other));
    std::thread serving([&] {
      accepted = server->secure(
          std::make_unique<TlsSession>(destination, TlsSession::Side::server, ""), in_ms(10'000));
      if (!accepted.ok()) server->cut();
    });
    connected = client->secure(
        std::make_unique<TlsSession>(source, TlsSession::Side::client, "host"), in_ms(10'000));
    if (!connected.ok()) client->cut();
    serving.join();
  }
  std::unique_ptr<Socket> client, server;
  Status connected, accepted;
};

}  // namespace blockferry
