// A destination made by hand, which says what it is told to.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "net/listen_socket.h"
#include "test/check.h"
#include "wire/frame_io.h"

namespace blockferry {

// The destination's ends of the connections, made by hand.
class RawDestination {
 public:
  inline static const std::string kSession{std::string(32, 'a')};

  RawDestination() { CHECK(listener_.open({"", "127.0.0.1", 0}).ok()); }
  uint16_t port() const { return listener_.bound().port; }

  // Takes the next connection and welcomes it.
  std::unique_ptr<Socket> welcome(const std::string& expected) {
    FileDescriptor fd;
    int error = 0;
    while (!fd.open()) {
      fd = listener_.accept(&error);
      std::this_thread::yield();
    }
    auto socket = std::make_unique<Socket>(std::move(fd));
    FrameReader reader(*socket);
    FrameHeader header;
    std::string hello;
    CHECK(reader.header(&header).ok() && reader.text(header, &hello).ok());
    CHECK(hello == expected);
    CHECK(send_text(*socket, FrameType::welcome, kSession).ok());
    return socket;
  }

 private:
  ListenSocket listener_;
};

}  // namespace blockferry
