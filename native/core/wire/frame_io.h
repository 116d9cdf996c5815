// Frames over a socket.
#pragma once

#include <memory>
#include <string>

#include "net/socket.h"
#include "wire/wire.h"

namespace blockferry {

// Reads frames of one connection, for one thread. Large payloads go straight to their buffer.
class FrameReader {
 public:
  explicit FrameReader(Socket& socket);
  // Applies to every following call, as a whole.
  void set_deadline(Deadline deadline) { deadline_ = deadline; }
  Status header(FrameHeader* header);
  Status payload(void* buffer, size_t length);
  // The payload of a text frame, checked.
  Status text(const FrameHeader& header, std::string* text);

 private:
  Status fill();

  static constexpr size_t kBuffer = 64 << 10;
  Socket* socket_;
  Deadline deadline_ = kNoDeadline;
  std::unique_ptr<uint8_t[]> buffer_;
  size_t start_ = 0;
  size_t end_ = 0;
};

Status send_text(Socket& socket, FrameType type, const std::string& text);

// An ERROR frame's text is "CODE words"; these are its two directions.
std::string error_text(const Status& status);
Status error_from_text(const std::string& text);

}  // namespace blockferry
