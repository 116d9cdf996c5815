#include "send/sender.h"

#include <algorithm>

#include "base/start_thread.h"
#include "disk/block_hash.h"
#include "send/stream.h"

namespace blockferry {

SentDisk::SentDisk(std::shared_ptr<Tap> the_tap, PeerDisk known)
    : tap(std::move(the_tap)),
      tracking(tap->tracking()),
      dirty(&tracking->dirty()),
      peer_blank(known.blank),
      digest(tracking->hashes(), tracking->has_hashes()),
      peer(known.inventory ? std::make_unique<PeerHashes>(dirty->size(), dirty->block_size())
                           : nullptr),
      separate(known.separate),
      known_blocks(known.inventory ? 0 : dirty->blocks()),
      remembered(tracking->begin_session(known.inventory)) {}

Sender::Sender(SenderEvents events, uint32_t link_timeout_ms, Trust trust)
    : events_(std::move(events)), link_timeout_ms_(link_timeout_ms), trust_(std::move(trust)) {
  machine_limits_.pacer = &pacer_;
}

Sender::~Sender() { close(); }

// Greets, and reads the answer: the session's name, or why not.
static Status greet(Socket& socket, const std::string& hello, FrameReader& reader,
                    std::string* session) {
  Status sent = send_text(socket, FrameType::hello, hello);
  FrameHeader header;
  Status status = reader.header(&header);  // a peer that has hung up may have said why
  if (!status.ok()) return sent.ok() || status.code == Code::unauthorized ? status : sent;
  if (header.type != FrameType::welcome && header.type != FrameType::error) {
    return Status::failure(Code::protocol, "the peer did not answer the greeting");
  }
  std::string text;
  status = reader.text(header, &text);
  if (!status.ok()) return status;
  if (header.type == FrameType::error) return error_from_text(text);
  *session = text;
  return {};
}

Status Sender::connect(const std::string& host, uint16_t port, uint32_t timeout_ms) {
  host_ = host;
  port_ = port;
  connect_timeout_ms_ = timeout_ms;
  std::unique_ptr<Socket> socket;
  std::unique_ptr<FrameReader> reader;
  Status status = connect_greeted("control", &socket, &reader, &session_);
  if (status.ok()) status = check_peer(*socket);
  if (!status.ok()) return status;
  return control_.start(std::move(socket), std::move(*reader),
                        {events_.message, [this](Status ended) { fail(std::move(ended)); }});
}

void Sender::add_disk(std::shared_ptr<Tap> tap, PeerDisk known) {
  disks_.push_back(std::make_unique<SentDisk>(std::move(tap), known));
}

void Sender::separate(uint32_t disk) {
  disks_[disk]->separate = true;
  wake_streams();
}

Status Sender::await_separate(uint32_t index, uint64_t offset) {
  SentDisk& disk = *disks_[index];
  if (disk.separate.load()) return {};
  std::unique_lock lock(mutex_);
  if (!disk.asked) {
    disk.asked = true;
    lock.unlock();
    events_.overwrites(index, offset);
    lock.lock();
  }
  changed_.wait(lock, [&] { return stop_.load() || disk.separate.load(); });
  return stop_.load() ? Status::failure(Code::closed, "the migration has ended") : Status{};
}

Status Sender::open_inventory() {
  std::unique_ptr<Socket> socket;
  std::unique_ptr<FrameReader> reader;
  std::string session;
  Status status = connect_greeted("inventory " + session_, &socket, &reader, &session);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the migration has ended");
  inventory_socket_ = std::move(socket);
  inventory_reader_ = std::move(reader);
  return start_thread(&inventory_, [this] {
    Status taken = contain([this] { return take_inventory(); });
    if (!taken.ok()) fail(std::move(taken));
  });
}

// Until all of it is here.
Status Sender::take_inventory() {
  for (;;) {
    FrameHeader header;
    Status status = inventory_reader_->header(&header);
    if (status.ok() && header.type != FrameType::hashes) {
      status = Status::failure(Code::protocol, "a frame that is no part of an inventory");
    }
    if (status.ok() && header.length == 0) break;
    if (status.ok()) status = take_hashes(header);
    if (!status.ok()) return status;
  }
  for (auto& disk : disks_) {
    if (disk->known_blocks.load() != disk->dirty->blocks()) {
      return Status::failure(Code::protocol, "an inventory with a gap at its end");
    }
  }
  return {};
}

// The next blocks of a disk: they must follow those before.
Status Sender::take_hashes(const FrameHeader& header) {
  SentDisk* disk = header.disk < disks_.size() ? disks_[header.disk].get() : nullptr;
  if (disk == nullptr || disk->peer == nullptr) {
    return Status::failure(Code::protocol, "an inventory of a disk that has none");
  }
  uint64_t block_size = disk->dirty->block_size();
  uint64_t first = disk->known_blocks.load();
  uint64_t count = (header.length + block_size - 1) / block_size;
  bool whole =
      header.length % block_size == 0 || header.offset + header.length == disk->dirty->size();
  bool sized = header.payload == 0 || header.payload == count * sizeof(uint64_t);
  if (header.offset != first * block_size || count > disk->dirty->blocks() - first || !whole ||
      !sized) {
    return Status::failure(Code::protocol, "an inventory that does not fit its disk");
  }
  std::vector<uint64_t> hashes(header.payload / sizeof(uint64_t));
  Status status = inventory_reader_->payload(hashes.data(), header.payload);
  if (!status.ok()) return status;
  if (check_of(hashes.data(), hashes.size(), header.offset) != header.check) {
    return Status::failure(Code::checksum, "an inventory does not match its checksum");
  }
  if (hashes.empty()) {
    disk->peer->set_zeroes({first, count});
  } else {
    disk->peer->set({first, count}, hashes.data());
  }
  disk->known_blocks.store(first + count);
  return {};
}

Status Sender::connect_greeted(const std::string& hello, std::unique_ptr<Socket>* socket,
                               std::unique_ptr<FrameReader>* reader, std::string* answer) {
  FileDescriptor fd;
  Status status = connect_tcp(host_, port_, connect_timeout_ms_, &fd);
  if (!status.ok()) return status;
  tune_socket(fd.get(), link_timeout_ms_);
  *socket = std::make_unique<Socket>(std::move(fd));
  Deadline deadline = Clock::now() + std::chrono::milliseconds(connect_timeout_ms_);
  if (trust_.keys) {
    auto session = std::make_unique<TlsSession>(trust_.keys, TlsSession::Side::client, host_);
    status = (*socket)->secure(std::move(session), deadline);
    if (!status.ok()) return status;
  }
  *reader = std::make_unique<FrameReader>(**socket);
  (*reader)->set_deadline(deadline);
  status = greet(**socket, hello, **reader, answer);
  (*reader)->set_deadline(kNoDeadline);
  return status;
}

// Who has answered has accepted the connection: only then has its other end an owner. Not of the inventory's,
// which may have been told by then, and over: one that lies is found when the digests are compared.
Status Sender::check_peer(const Socket& socket) const {
  return !trust_.keys && trust_.same_user ? socket.check_same_user() : Status{};
}

Status Sender::open_stream(unsigned index, unsigned count, std::unique_ptr<StreamSender>* stream) {
  std::unique_ptr<Socket> socket;
  std::unique_ptr<FrameReader> reader;
  std::string session;
  std::string hello =
      "data " + session_ + " " + std::to_string(index) + " " + std::to_string(count);
  Status status = connect_greeted(hello, &socket, &reader, &session);
  if (status.ok()) status = check_peer(*socket);
  if (!status.ok()) return status;
  *stream = std::make_unique<StreamSender>(*this, std::move(socket), index, count);
  return {};
}

Status Sender::open_machine(const std::string& path) {
  auto connect = [this](std::unique_ptr<Socket>* socket, std::unique_ptr<FrameReader>* reader) {
    std::string session;
    Status status = connect_greeted("machine " + session_, socket, reader, &session);
    return status.ok() ? check_peer(**socket) : status;
  };
  auto port = std::make_unique<MachinePort>(machine_limits_, connect,
                                            [this](Status status) { fail(std::move(status)); });
  Status status = port->open(path);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the migration has ended");
  machine_ = std::move(port);
  return {};
}

void Sender::set_machine_limits(uint64_t max_in_flight, int level) {
  machine_limits_.max_in_flight = max_in_flight;
  machine_limits_.level = level;
}

Status Sender::open_streams(unsigned count) {
  std::vector<std::unique_ptr<StreamSender>> streams(count);
  for (unsigned index = 0; index < count; index++) {
    Status status = open_stream(index, count, &streams[index]);
    if (!status.ok()) return status;
  }
  std::lock_guard lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the migration has ended");
  streams_ = std::move(streams);
  return {};
}

void Sender::stop_streams() {
  {
    // The lock closes the gap between a stream's look at stop_ and its wait.
    std::lock_guard lock(mutex_);
    stop_ = true;
    for (auto& stream : streams_) stream->stop();
    if (inventory_socket_) inventory_socket_->shut_down();
  }
  changed_.notify_all();
  stopping_.notify_all();
}

void Sender::start() {
  bulk_left_ = static_cast<unsigned>(streams_.size());
  for (auto& stream : streams_) {
    Status status = stream->start();
    if (!status.ok()) return fail(std::move(status));
  }
}

void Sender::wake_streams() {
  // Taking the lock closes the gap between a stream's look and its wait.
  { std::lock_guard lock(mutex_); }
  changed_.notify_all();
}

void Sender::set_defer(uint32_t ms) {
  if (defer_ms_.exchange(ms) == ms) return;
  for (auto& disk : disks_) disk->dirty->track_young(ms != 0);
}

// Called by the first stream between its batches. A longer time holds for what is written from the
// next age on: when the writers fall silent, what they wrote before does not wait for it.
void Sender::age_when_due() {
  uint32_t every = defer_ms_.load();
  auto now = Clock::now();
  next_age_ = std::min(next_age_, now + std::chrono::milliseconds(every));
  if (every == 0 || now < next_age_) return;
  next_age_ = now + std::chrono::milliseconds(every);
  for (auto& disk : disks_) disk->dirty->age();
}

void Sender::pause(bool on) {
  {
    std::lock_guard lock(mutex_);
    paused_ = on;
  }
  wake_streams();
}

void Sender::mark(uint64_t number) {
  {
    std::lock_guard lock(mutex_);
    wanted_mark_ = number;
    marks_left_ = static_cast<unsigned>(streams_.size());
  }
  wake_streams();
}

void Sender::finish(uint64_t number) {
  {
    std::lock_guard lock(mutex_);
    wanted_mark_ = final_mark_ = number;
    marks_left_ = static_cast<unsigned>(streams_.size());
  }
  wake_streams();
}

void Sender::unfinish() {
  {
    std::lock_guard lock(mutex_);
    final_mark_ = 0;
  }
  wake_streams();
}

// The destination can be through with a mark, and the next be wanted, before a stream that has sent
// it comes here: that counts no more.
void Sender::stream_marked(uint64_t number) {
  bool last = false;
  {
    std::lock_guard lock(mutex_);
    if (number == wanted_mark_) last = --marks_left_ == 0;
  }
  if (last) events_.marked(number);
}

void Sender::stream_finished_bulk() {
  if (--bulk_left_ == 0) events_.bulk_done();
}

void Sender::durable(uint64_t number) {
  for (auto& disk : disks_) disk->tracking->pending(number - 1).clear_all();
}

Status Sender::mark_again(uint32_t disk, BlockRange range) {
  uint64_t blocks = disk < disks_.size() ? disks_[disk]->dirty->blocks() : 0;
  if (range.first >= blocks || range.count > blocks - range.first) {
    return Status::failure(Code::protocol, "the peer named blocks that do not exist");
  }
  disks_[disk]->peer_blank = false;
  disks_[disk]->dirty->mark_blocks(range);
  wake_streams();
  return {};
}

void Sender::fail(Status status) {
  if (failed_.exchange(true)) return;
  // Before the peer can notice and tell its own view of it.
  insist([&] { events_.failed(status); });
  stop_streams();
}

static SentDiskStats stats_of(const SentDisk& disk) {
  SentDiskStats stats;
  uint64_t block_size = disk.dirty->block_size();
  stats.dirty_bytes = disk.dirty->count() * block_size;
  stats.marked_bytes = disk.dirty->marked() * block_size;
  for (uint64_t mark : {0, 1}) {
    stats.pending_bytes += disk.tracking->pending(mark).count() * block_size;
  }
  stats.content_bytes = disk.content_bytes;
  stats.zero_bytes = disk.zero_bytes;
  stats.same_bytes = disk.same_bytes;
  stats.wire_bytes = disk.wire_bytes;
  return stats;
}

// Of small disks there is not a stripe for every stream, and one that has none waits for nothing.
size_t Sender::streams_with_stripes() const {
  uint64_t most = 1;
  for (auto& disk : disks_) most = std::max(most, (disk->dirty->size() + kStripe - 1) / kStripe);
  return std::min<uint64_t>(most, streams_.size());
}

SenderStats Sender::stats() const {
  SenderStats stats;
  std::lock_guard lock(mutex_);
  size_t used = streams_with_stripes();
  for (auto& disk : disks_) stats.disks.push_back(stats_of(*disk));
  for (size_t i = 0; i < streams_.size(); i++) {
    const auto& stream = streams_[i];
    const auto& counters = stream->counters();
    stats.passes = std::max<uint64_t>(stats.passes, counters.passes);
    if (i < used) stats.idle_us += counters.idle_us / used;
    SocketProgress progress = stream->progress();
    stats.acknowledged_bytes += progress.acknowledged;
    stats.in_flight_bytes += progress.in_flight;
  }
  stats.round_trip_us = control_.progress().round_trip_us;
  if (machine_) stats.machine = machine_->stats();
  return stats;
}

void Sender::close() {
  std::lock_guard closing(close_mutex_);
  failed_ = true;  // what ends from here on is no failure
  stop_streams();
  if (machine_) machine_->close();
  if (inventory_.joinable()) inventory_.join();
  for (auto& stream : streams_) stream->join();
  control_.close();
  std::lock_guard lock(mutex_);
  // Whoever holds on to us must not hold their descriptors.
  for (auto& stream : streams_) stream->hang_up();
  inventory_reader_.reset();
  inventory_socket_.reset();
  for (auto& disk : disks_) disk->tap.reset();  // whoever closes the tap now lets go of its file
}

}  // namespace blockferry
