#include "receive/session.h"

#include <algorithm>

#include "base/start_thread.h"
#include "receive/stream.h"

namespace blockferry {

ReceivedDisk::ReceivedDisk(std::shared_ptr<Tap> the_tap, uint64_t the_size, uint32_t the_block_size,
                           bool with_inventory)
    : tap(std::move(the_tap)),
      size(the_size),
      block_size(the_block_size),
      inventory(with_inventory),
      allocated(tap->origin().allocated()),
      digest(size, block_size, !inventory && tap->origin().blank()) {}

void ReceiverSession::adopt_control(std::unique_ptr<Socket> socket, FrameReader reader) {
  waiting_control_ = std::move(socket);
  waiting_reader_ = std::make_unique<FrameReader>(std::move(reader));
}

void ReceiverSession::start(ReceiverEvents events) {
  events_ = std::move(events);
  Status status =
      control_.start(std::move(waiting_control_), std::move(*waiting_reader_),
                     {events_.message, [this](Status ended) { fail(std::move(ended)); }});
  waiting_reader_.reset();
  if (!status.ok()) fail(std::move(status));
}

void ReceiverSession::add_disk(std::shared_ptr<Tap> tap, uint64_t size, uint32_t block_size,
                               bool inventory) {
  tap->forget();
  disks_.push_back(std::make_unique<ReceivedDisk>(std::move(tap), size, block_size, inventory));
}

Status ReceiverSession::accept_streams(unsigned count, bool verify) {
  std::lock_guard lock(mutex_);
  verify_ = verify;
  places_.assign(count, {});
  stream_marks_.assign(count, 0);
  seal_.set_streams(count);
  Status status = start_thread(&checkpoints_, [this] { run_checkpoints(); });
  if (status.ok()) stream_count_ = count;
  return status;
}

Status ReceiverSession::join_stream(unsigned index, unsigned count, Socket& socket) {
  std::lock_guard lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the session has ended");
  if (stream_count_ == 0 || count != stream_count_ || index >= count) {
    return Status::failure(Code::protocol, "a stream that was not agreed on");
  }
  if (places_[index].taken) {
    return Status::failure(Code::busy, "this stream is connected already");
  }
  places_[index] = {true, &socket};
  running_streams_++;
  return {};
}

void ReceiverSession::run_stream(unsigned index, Socket& socket, FrameReader& reader) {
  Status status =
      contain([&] { return StreamReceiver(*this, index, stream_count_, reader).run(); });
  socket.shut_down();
  fail(std::move(status));
  std::lock_guard lock(mutex_);
  places_[index].socket = nullptr;
  running_streams_--;
  changed_.notify_all();
}

void ReceiverSession::accept_machine(const std::string& path) {
  std::lock_guard lock(mutex_);
  machine_path_ = path;
}

Status ReceiverSession::join_machine(Socket& socket, FileDescriptor* local) {
  std::string path;
  {
    std::lock_guard lock(mutex_);
    path = machine_path_;
  }
  if (path.empty()) return Status::failure(Code::protocol, "no machine was agreed on");
  Status status = connect_unix(path, local);
  if (!status.ok()) return status;
  std::lock_guard lock(mutex_);
  if (stop_.load()) return Status::failure(Code::closed, "the session has ended");
  if (other_sockets_.size() >= kMaxStreams) {
    return Status::failure(Code::busy, "too many connections with the machine's memory");
  }
  other_sockets_.insert(&socket);
  running_streams_++;
  return {};
}

void ReceiverSession::run_machine(FileDescriptor local, Socket& socket, FrameReader& reader) {
  Status status = contain([&] { return relay_machine(std::move(local), socket, reader); });
  if (!status.ok()) fail(std::move(status));
  std::lock_guard lock(mutex_);
  other_sockets_.erase(&socket);
  running_streams_--;
  changed_.notify_all();
}

Status ReceiverSession::relay_machine(FileDescriptor local, Socket& socket, FrameReader& reader) {
  MachineRelay relay(std::move(local), socket, reader, machine_limits_, machine_counters_);
  {
    std::lock_guard lock(mutex_);
    relays_.insert(&relay);
    if (stop_.load()) relay.break_off();
  }
  Status status = contain([&] { return relay.run(); });
  std::lock_guard lock(mutex_);
  relays_.erase(&relay);
  return status;
}

void ReceiverSession::stream_marked(unsigned index, uint64_t number) {
  std::lock_guard lock(mutex_);
  stream_marks_[index] = number;
  changed_.notify_all();
}

// Under the lock.
uint64_t ReceiverSession::least_mark() const {
  return *std::min_element(stream_marks_.begin(), stream_marks_.end());
}

void ReceiverSession::run_checkpoints() {
  for (uint64_t number = 1;; number++) {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_.load() || least_mark() >= number; });
    }
    Status status = contain([&] { return checkpoint(number); });
    if (!status.ok()) {
      fail(std::move(status));
      return;
    }
  }
}

Status ReceiverSession::checkpoint(uint64_t number) {
  Backlog::Share share = reports_.take(1);
  if (!share) return Status::failure(Code::closed, "the session has ended");
  auto begin = Clock::now();
  for (auto& disk : disks_) {
    Status status = disk->tap->origin().flush();
    if (!status.ok()) return status;
    disk->flushed = sight_of(disk->tap->origin());
  }
  events_.durable(number);
  VerifiedMark verified{number, {}, 0, std::move(share)};
  for (uint32_t i = 0; i < disks_.size(); i++) {
    std::vector<BlockRange> ranges;
    ReceivedDisk& disk = *disks_[i];
    unsigned generation = (number - 1) & 1;
    if (!verify_) {
      disk.digest.trust(generation);
      continue;
    }
    Status status = disk.digest.verify(disk.tap->origin(), generation, stop_, &ranges);
    if (!status.ok()) return status;
    for (BlockRange range : ranges) verified.wrong.push_back({i, range});
  }
  {
    std::lock_guard lock(mutex_);
    verified_mark_ = number;
    changed_.notify_all();
  }
  auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  verified.took_us = static_cast<uint64_t>(took.count());
  events_.verified(std::move(verified));
  return {};
}

Status ReceiverSession::seal(std::vector<uint32_t>* changed) {
  {
    std::lock_guard lock(mutex_);
    if (closed_) return Status::failure(Code::closed, "the session was closed");
    running_streams_++;
  }
  seal_.close();
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stop_.load() || verified_mark_ == least_mark(); });
  Status status;
  if (verified_mark_ != least_mark())
    status = Status::failure(Code::closed, "the session has ended");
  lock.unlock();
  if (status.ok()) status = contain([&] { return compare_with_flushed(changed); });
  lock.lock();
  running_streams_--;
  changed_.notify_all();
  return status;
}

// After that flush nothing of ours has written, unless it is not verified yet.
Status ReceiverSession::compare_with_flushed(std::vector<uint32_t>* changed) const {
  for (uint32_t i = 0; i < disks_.size(); i++) {
    const ReceivedDisk& disk = *disks_[i];
    if (!disk.flushed.known || disk.digest.pending() != 0) continue;
    DiskState now;
    Status status = settled_sight_of(disk.tap->origin(), &now);
    if (!status.ok()) return status;
    if (now.known && !(now == disk.flushed)) changed->push_back(i);
  }
  return {};
}

void ReceiverSession::fail(Status status) {
  if (failed_.exchange(true)) return;
  // Before the peer can notice and tell its own view of it.
  insist([&] { events_.failed(status); });
  std::lock_guard lock(mutex_);
  shut_down();
}

// Under the lock.
void ReceiverSession::shut_down() {
  stop_ = machine_limits_.stop = true;
  for (Place& place : places_) {
    if (place.socket != nullptr) place.socket->shut_down();
  }
  for (Socket* socket : other_sockets_) socket->shut_down();
  for (MachineRelay* relay : relays_) relay->break_off();
  reports_.close();
  changed_.notify_all();
}

ReceiverStats ReceiverSession::stats() const {
  ReceiverStats stats;
  stats.wire_bytes = wire_bytes_;
  stats.content_bytes = content_bytes_;
  stats.zero_bytes = zero_bytes_;
  for (auto& disk : disks_) {
    stats.unverified_bytes += disk->digest.pending() * disk->block_size;
    stats.missing_bytes += disk->digest.missing() * disk->block_size;
  }
  return stats;
}

void ReceiverSession::close() {
  std::lock_guard closing(close_mutex_);
  failed_ = true;  // what ends from here on is no failure
  std::unique_lock lock(mutex_);
  closed_ = true;
  shut_down();
  changed_.wait(lock, [this] { return running_streams_ == 0; });
  lock.unlock();
  if (checkpoints_.joinable()) checkpoints_.join();
  control_.close();
  waiting_control_.reset();
  for (auto& disk : disks_) disk->tap.reset();  // whoever closes the tap now lets go of its file
}

}  // namespace blockferry
