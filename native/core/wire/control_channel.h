// The control connection of a session, after its handshake: text messages both ways.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/backlog.h"
#include "wire/frame_io.h"

namespace blockferry {

class ControlChannel {
 public:
  // Both are called on the channel's own thread; `ended` once, last, and not after close(). While
  // messages of more than kMaxBacklog bytes have a share that lives, no more are received.
  struct Events {
    std::function<void(std::string, Backlog::Share)> message;
    std::function<void(Status)> ended;
  };

  ~ControlChannel() { close(); }

  // After close() this does nothing. When it fails nothing is received, but can still be sent.
  Status start(std::unique_ptr<Socket> socket, FrameReader reader, Events events);
  // From any thread; never blocks. A peer that does not read its messages is ended.
  Status send(const std::string& text);
  // Closes the connection and waits for the thread. Not from the events.
  void close();
  SocketProgress progress() const;

  static constexpr size_t kMaxBacklog = 2 * kMaxControl;

 private:
  void run(FrameReader reader);
  Status receive(FrameReader& reader);
  Status read_message(FrameReader& reader, std::string* text);

  std::unique_ptr<Socket> socket_;
  Events events_;
  Backlog backlog_{kMaxBacklog};
  mutable std::mutex send_mutex_;  // socket_, and one sender at a time
  std::mutex close_mutex_;         // a second close() waits for the first
  std::atomic<bool> closed_{false};
  std::thread thread_;
};

}  // namespace blockferry
