#include "wire/control_channel.h"

#include "base/start_thread.h"

namespace blockferry {

// Of each message, beside its text, until it is dealt with.
constexpr size_t kMessageCost = 512;

Status ControlChannel::start(std::unique_ptr<Socket> socket, FrameReader reader, Events events) {
  std::lock_guard lock(send_mutex_);
  if (closed_.load()) return {};  // somebody was quicker: the socket goes with this call
  socket_ = std::move(socket);
  events_ = std::move(events);
  return start_thread(&thread_,
                      [this, reader = std::move(reader)]() mutable { run(std::move(reader)); });
}

Status ControlChannel::read_message(FrameReader& reader, std::string* text) {
  FrameHeader header;
  Status status = reader.header(&header);
  if (!status.ok()) return status;
  if (header.type != FrameType::control && header.type != FrameType::error) {
    return Status::failure(Code::protocol, "a frame that is no control message");
  }
  status = reader.text(header, text);
  if (status.ok() && header.type == FrameType::error) return error_from_text(*text);
  return status;
}

void ControlChannel::run(FrameReader reader) {
  Status status = contain([&] { return receive(reader); });
  if (!closed_.load()) events_.ended(std::move(status));
}

// Until there are no more.
Status ControlChannel::receive(FrameReader& reader) {
  for (;;) {
    std::string text;
    Status status = read_message(reader, &text);
    if (!status.ok()) return status;
    Backlog::Share share = backlog_.take(kMessageCost + text.size());
    if (!share) return Status::failure(Code::closed, "closed");
    events_.message(std::move(text), std::move(share));
  }
}

// The whole frame goes in one call: a part that does not fit means a peer that does not read.
Status ControlChannel::send(const std::string& text) {
  if (text.size() > kMaxControl) return Status::failure(Code::invalid, "message too long");
  std::string frame(kHeaderSize, '\0');
  encode_header(text_header(FrameType::control, text), reinterpret_cast<uint8_t*>(frame.data()));
  frame += text;
  std::lock_guard lock(send_mutex_);
  if (closed_.load() || !socket_) return Status::failure(Code::closed, "closed");
  Status status = socket_->send_at_once(frame.data(), frame.size());
  if (!status.ok()) socket_->shut_down();
  return status;
}

SocketProgress ControlChannel::progress() const {
  std::lock_guard lock(send_mutex_);
  return socket_ ? socket_->progress() : SocketProgress{};
}

void ControlChannel::close() {
  std::lock_guard closing(close_mutex_);
  {
    std::lock_guard lock(send_mutex_);
    if (!closed_.exchange(true) && socket_) socket_->shut_down();
  }
  backlog_.close();
  if (thread_.joinable()) thread_.join();
  std::lock_guard lock(send_mutex_);
  socket_.reset();
}

}  // namespace blockferry
