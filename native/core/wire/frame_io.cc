#include "wire/frame_io.h"

#include <algorithm>
#include <cstring>

namespace blockferry {

FrameReader::FrameReader(Socket& socket) : socket_(&socket), buffer_(new uint8_t[kBuffer]) {}

Status FrameReader::fill() {
  size_t got = 0;
  start_ = end_ = 0;
  Status status = socket_->receive(buffer_.get(), kBuffer, deadline_, &got);
  end_ = got;
  return status;
}

Status FrameReader::payload(void* buffer, size_t length) {
  auto* at = static_cast<uint8_t*>(buffer);
  while (length > 0) {
    size_t part = std::min(length, end_ - start_);
    if (part > 0) {
      memcpy(at, buffer_.get() + start_, part);
      start_ += part;
    } else if (length >= kBuffer) {
      Status status = socket_->receive(at, length, deadline_, &part);
      if (!status.ok()) return status;
    } else {
      Status status = fill();
      if (!status.ok()) return status;
    }
    at += part;
    length -= part;
  }
  return {};
}

Status FrameReader::header(FrameHeader* header) {
  uint8_t bytes[kHeaderSize];
  Status status = payload(bytes, sizeof bytes);
  return status.ok() ? decode_header(bytes, header) : status;
}

Status FrameReader::text(const FrameHeader& header, std::string* text) {
  text->resize(header.payload);
  Status status = payload(text->data(), text->size());
  return status.ok() ? check_text(header, *text) : status;
}

Status send_text(Socket& socket, FrameType type, const std::string& text) {
  uint8_t header[kHeaderSize];
  encode_header(text_header(type, text), header);
  iovec parts[2] = {{header, sizeof header}, {const_cast<char*>(text.data()), text.size()}};
  return socket.send(parts, 2);
}

std::string error_text(const Status& status) {
  return std::string(code_name(status.code)) + " " + status.operation;
}

Status error_from_text(const std::string& text) {
  size_t space = std::min(text.find(' '), text.size());
  std::string words = text.substr(std::min(space + 1, text.size()));
  for (int i = 1; i <= static_cast<int>(kLastCode); i++) {
    Code code = static_cast<Code>(i);
    if (text.compare(0, space, code_name(code)) == 0) {
      return Status::failure(code, "the peer says: " + words);
    }
  }
  return Status::failure(Code::refused, "the peer says: " + text);
}

}  // namespace blockferry
