// The other side of a connection: says what it is given, and hears out whatever comes.
#pragma once

#include <sys/socket.h>

#include <cstdlib>
#include <string>
#include <thread>
#include <utility>

#include "base/file_descriptor.h"

namespace blockferry {

class Peer {
 public:
  // `stays`: it doesn't say that this was all.
  explicit Peer(std::string words, bool stays = false) : words_(std::move(words)), stays_(stays) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) abort();
    ours_.reset(ends[0]);
    theirs_.reset(ends[1]);
    speaker_ = std::thread([this] { speak(); });
    listener_ = std::thread([this] { hear(); });
  }
  // Waits until the other side has hung up.
  ~Peer() {
    theirs_.reset();
    listener_.join();
    speaker_.join();
  }
  // The end of who is talked to; once.
  FileDescriptor take() { return std::move(theirs_); }

 private:
  void speak() {
    for (size_t said = 0; said < words_.size();) {
      ssize_t put = send(ours_.get(), &words_[said], words_.size() - said, MSG_NOSIGNAL);
      if (put < 0) return;
      said += static_cast<size_t>(put);
    }
    if (!stays_) shutdown(ours_.get(), SHUT_WR);
  }
  void hear() {
    char buffer[4096];
    while (recv(ours_.get(), buffer, sizeof buffer, 0) > 0) {
    }
  }

  std::string words_;
  bool stays_;
  FileDescriptor ours_, theirs_;
  std::thread speaker_, listener_;
};

}  // namespace blockferry
