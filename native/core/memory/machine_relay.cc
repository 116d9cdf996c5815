#include "memory/machine_relay.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "base/start_thread.h"
#include "wire/wire.h"

namespace blockferry {

namespace {

constexpr size_t kPiece = 256 << 10;
constexpr size_t kLeastPiece = 32 << 10;
constexpr std::chrono::milliseconds kRoomWait{1};
constexpr time_t kConnectSeconds = 5;

}  // namespace

Status connect_unix(const std::string& path, FileDescriptor* socket) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status::failure(Code::invalid, path + " is too long for a Unix socket");
  }
  memcpy(address.sun_path, path.data(), path.size());
  FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.open()) return Status::from_errno(errno, "make a socket");
  timeval limit{kConnectSeconds, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::from_errno(errno, "connect to " + path);
  }
  timeval none{0, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
  *socket = std::move(fd);
  return {};
}

MachineRelay::MachineRelay(FileDescriptor local, Socket& peer, FrameReader& reader,
                           RelayLimits& limits, RelayCounters& counters)
    : local_(std::move(local)),
      peer_(peer),
      reader_(reader),
      limits_(limits),
      counters_(counters) {}

Status MachineRelay::run() {
  Status received;
  std::thread receiver;
  Status sent = start_thread(&receiver, [&] {
    received = contain([this] { return from_peer(); });
    if (!received.ok()) break_off();
  });
  if (sent.ok()) {
    sent = contain([this] { return to_peer(); });
    if (!sent.ok()) break_off();
    receiver.join();
  }
  break_off();
  return received.ok() ? std::move(sent) : std::move(received);
}

void MachineRelay::break_off() {
  shutdown(local_.get(), SHUT_RDWR);
  peer_.shut_down();
}

// What the hypervisor has not handed over yet needs no queue of ours.
void MachineRelay::wait_for_room() {
  uint64_t limit;
  while (!limits_.stop.load() && (limit = limits_.max_in_flight.load()) != 0 &&
         peer_.progress().in_flight >= limit) {
    std::this_thread::sleep_for(kRoomWait);
  }
}

size_t MachineRelay::piece_size() const {
  uint64_t limit = limits_.max_in_flight.load();
  return limit == 0 ? kPiece : std::clamp<size_t>(limit / 2, kLeastPiece, kPiece);
}

Status MachineRelay::to_peer() {
  std::vector<uint8_t> piece(kPiece);
  for (;;) {
    wait_for_room();
    ssize_t got = read(local_.get(), piece.data(), piece_size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      break_off();
      return {};
    }
    Status status = send_piece(piece.data(), static_cast<size_t>(got));
    if (!status.ok() || got == 0) return status;
  }
}

// Nothing is the end of this direction.
Status MachineRelay::send_piece(const uint8_t* bytes, size_t length) {
  FrameHeader header;
  header.type = FrameType::machine;
  header.length = length;
  header.payload = static_cast<uint32_t>(length);
  header.check = XXH3_64bits(bytes, length);
  const uint8_t* payload = bytes;
  int level = limits_.level.load();
  if (level != 0 && length != 0) {
    const std::vector<uint8_t>* packed = nullptr;
    Status status = compressor_.compress(bytes, length, level, &packed);
    if (!status.ok()) return status;
    header.flags = kFlagZstd;
    header.payload = static_cast<uint32_t>(packed->size());
    payload = packed->data();
  }
  uint64_t wire = kHeaderSize + header.payload;
  if (limits_.pacer != nullptr) {
    limits_.pacer->wait(wire, [this] { return limits_.stop.load(); });
  }
  uint8_t head[kHeaderSize];
  encode_header(header, head);
  iovec parts[2] = {{head, sizeof head}, {const_cast<uint8_t*>(payload), header.payload}};
  counters_.content_bytes += length;
  counters_.wire_bytes += wire;
  return peer_.send(parts, header.payload == 0 ? 1 : 2);
}

Status MachineRelay::from_peer() {
  for (;;) {
    FrameHeader header;
    Status status = reader_.header(&header);
    if (status.ok() && header.type != FrameType::machine) {
      status = Status::failure(Code::protocol, "a frame that is no piece of memory");
    }
    if (status.ok() && header.length == 0) {
      shutdown(local_.get(), SHUT_WR);
      return {};
    }
    if (status.ok()) status = receive_piece(header);
    if (!status.ok()) return status;
    if (!write_local(content_.data(), header.length)) {
      break_off();
      return {};
    }
  }
}

Status MachineRelay::receive_piece(const FrameHeader& header) {
  bool packed = header.flags & kFlagZstd;
  content_.resize(header.length);
  std::vector<uint8_t>& arrived = packed ? payload_ : content_;
  arrived.resize(header.payload);
  Status status = reader_.payload(arrived.data(), header.payload);
  if (status.ok() && packed) {
    status =
        decompressor_.decompress(payload_.data(), header.payload, content_.data(), header.length);
  }
  if (!status.ok() || XXH3_64bits(content_.data(), header.length) == header.check) return status;
  return Status::failure(Code::checksum, "a piece of memory does not match its checksum");
}

bool MachineRelay::write_local(const uint8_t* bytes, size_t length) {
  while (length > 0) {
    ssize_t put = send(local_.get(), bytes, length, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    bytes += put;
    length -= static_cast<size_t>(put);
  }
  return true;
}

}  // namespace blockferry
