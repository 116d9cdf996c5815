#include "tunnel/tunnel.h"

#include <algorithm>

#include "base/start_thread.h"

namespace blockferry {

namespace {

bool is_final(Code code) {
  return code == Code::unauthorized || code == Code::tls || code == Code::version ||
         code == Code::protocol || code == Code::refused || code == Code::invalid;
}

Status receive_all(Socket& socket, uint8_t* bytes, size_t length, Deadline deadline) {
  while (length > 0) {
    size_t got = 0;
    Status status = socket.receive(bytes, length, deadline, &got);
    if (!status.ok()) return status;
    bytes += got;
    length -= got;
  }
  return {};
}

Status send_greeting(Socket& socket, const TunnelOptions& options) {
  uint8_t bytes[kTunnelGreeting];
  encode_tunnel_greeting(options.number, options.mtu, bytes);
  return socket.send_at_once(bytes, sizeof bytes);
}

Status send_tls_wanted(Socket& socket) {
  uint8_t bytes[kTunnelGreeting];
  encode_tls_wanted(bytes);
  return socket.send_at_once(bytes, sizeof bytes);
}

}  // namespace

Tunnel::Tunnel(TunnelOptions options, std::unique_ptr<PacketDevice> device, OnChange on_change)
    : options_(std::move(options)),
      device_(std::move(device)),
      on_change_(std::move(on_change)),
      mtu_(options_.mtu) {
  auto serve = [this](auto& socket, auto& greeted) { this->serve(socket, greeted); };
  if (options_.listens) {
    end_ = std::make_unique<TunnelListener>(options_.address, serve);
  } else {
    auto failed = [this](const Status& status) { note(status); };
    end_ = std::make_unique<TunnelDialer>(options_.address, serve, failed);
  }
}

Status Tunnel::start() {
  Status status = stop_.open();
  if (status.ok()) status = end_->start();
  if (status.ok()) status = start_thread(&sender_, [this] { send_packets(); });
  if (!status.ok()) close();
  return status;
}

Status Tunnel::wait_connected(uint32_t timeout_ms) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(timeout_ms), [this] {
    return current_ != nullptr || is_final(failure_.code) || stop_.raised();
  });
  if (current_) return {};
  if (!failure_.ok()) return failure_;
  return Status::failure(Code::timeout, "the other end of the tunnel has not come");
}

TunnelStats Tunnel::stats() const {
  return {connections_.load(), sent_.load(), received_.load(), dropped_.load()};
}

void Tunnel::close() {
  std::lock_guard closing(close_mutex_);
  {
    std::lock_guard lock(mutex_);
    stop_.raise();
    changed_.notify_all();
  }
  end_->stop();
  if (sender_.joinable()) sender_.join();
  stop_.close();
  device_.reset();
}

void Tunnel::serve(const std::shared_ptr<Socket>& socket, const std::function<void()>& greeted) {
  uint32_t mtu = 0;
  Status status = greet(*socket, &mtu);
  if (!status.ok()) {
    note(status);
    socket->shut_down();
    return;
  }
  if (stop_.raised()) return;
  greeted();
  install(socket, mtu);
  status = contain([&] { return receive_packets(*socket, mtu); });
  socket->shut_down();
  uninstall(socket, status);
}

// Who listens answers whatever came: so the other site can tell that it is started with keys and
// this one without, or is the end of another tunnel.
Status Tunnel::greet(Socket& socket, uint32_t* mtu) {
  Deadline deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(options_.greeting_timeout_ms);
  Status status;
  if (options_.tls) {
    auto side = options_.listens ? TlsSession::Side::server : TlsSession::Side::client;
    const std::string& host = options_.listens ? std::string() : options_.address.remote;
    status = socket.secure(std::make_unique<TlsSession>(options_.tls, side, host), deadline);
    if (status.code == Code::tls && options_.listens) (void)send_tls_wanted(socket);
  }
  if (status.ok() && !options_.listens) status = send_greeting(socket, options_);
  uint8_t bytes[kTunnelGreeting];
  if (status.ok()) status = receive_all(socket, bytes, sizeof bytes, deadline);
  if (status.ok() && options_.listens) status = send_greeting(socket, options_);
  if (status.ok()) status = decode_tunnel_greeting(bytes, options_.number, mtu);
  *mtu = std::min(*mtu, options_.mtu);
  return status;
}

void Tunnel::install(const std::shared_ptr<Socket>& socket, uint32_t mtu) {
  std::shared_ptr<Socket> before;
  {
    std::lock_guard lock(mutex_);
    before = std::exchange(current_, socket);
    // Where it can't be set, what is too large is dropped.
    if (mtu_.exchange(mtu) != mtu) (void)contain([&] { return device_->set_mtu(mtu); });
    failure_ = {};
    connections_++;  // before anybody is told of it
    changed_.notify_all();
  }
  if (before)
    before->cut();
  else
    insist([&] { on_change_(true, {}); });
}

void Tunnel::uninstall(const std::shared_ptr<Socket>& socket, const Status& why) {
  {
    std::lock_guard lock(mutex_);
    if (current_ != socket) return;
    current_.reset();
  }
  if (!stop_.raised()) insist([&] { on_change_(false, why); });
}

void Tunnel::note(const Status& failure) {
  std::lock_guard lock(mutex_);
  failure_ = failure;
  changed_.notify_all();
}

Status Tunnel::receive_packets(Socket& socket, uint32_t mtu) {
  PacketReader reader(mtu);
  for (;;) {
    size_t length = 0, got = 0;
    uint8_t* space = reader.space(&length);
    Status status = socket.receive(space, length, kNoDeadline, &got);
    if (!status.ok()) return status;
    reader.received(got);
    for (;;) {
      const uint8_t* packet = nullptr;
      status = reader.next(&packet, &length);
      if (!status.ok()) return status;
      if (length == 0) break;
      deliver(packet, length);
    }
  }
}

void Tunnel::deliver(const uint8_t* packet, size_t length) {
  bool taken = write(device_->fd(), packet, length) == static_cast<ssize_t>(length);
  (taken ? received_ : dropped_)++;
}

// When it ends so does all.
void Tunnel::send_packets() {
  Status status = contain([this] { return send_from_device(); });
  if (status.ok()) return;
  stop_.raise();
  {
    std::lock_guard lock(mutex_);
    if (current_) current_->cut();
  }
  insist([&] { on_change_(false, status); });
}

// Until it is stopped, or the device has been taken away.
Status Tunnel::send_from_device() {
  PacketBatch batch;
  for (;;) {
    short events = stop_.wait_for(device_->fd(), POLLIN, -1);
    if (stop_.raised()) return {};
    if ((events & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
      return Status::failure(Code::not_found, "the tunnel's device has been removed");
    }
    batch.clear();
    read_packets(batch);
    if (batch.count() > 0) send(batch);
  }
}

void Tunnel::read_packets(PacketBatch& batch) {
  while (batch.has_room()) {
    ssize_t length = read(device_->fd(), batch.space(), kMostMtu);
    if (length <= 0) return;
    auto size = static_cast<size_t>(length);
    if (size <= mtu_.load() && is_ip_packet(batch.space(), size))
      batch.add(size);
    else
      dropped_++;
  }
}

void Tunnel::send(PacketBatch& batch) {
  std::shared_ptr<Socket> socket;
  {
    std::lock_guard lock(mutex_);
    socket = current_;
  }
  iovec part{batch.bytes(), batch.size()};
  if (socket && socket->send(&part, 1).ok()) {
    sent_ += batch.count();
    return;
  }
  dropped_ += batch.count();
  if (socket) socket->cut();  // its receiving thread finds that out
}

}  // namespace blockferry
