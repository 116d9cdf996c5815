#include "send/stream.h"

#include "base/start_thread.h"

namespace blockferry {

namespace {

constexpr std::chrono::milliseconds kIdleWait{2};

}  // namespace

StreamSender::StreamSender(Sender& sender, std::unique_ptr<Socket> socket, unsigned index,
                           unsigned count)
    : sender_(sender),
      socket_(std::move(socket)),
      index_(index),
      count_(count),
      confirmed_(sender.disks_.size()),
      buffer_(make_aligned_buffer(kMaxExtent)),
      queues_(sender.disks_.size()) {
  reads_.reserve(kMaxExtentsInBatch);
  rewind();
}

StreamSender::~StreamSender() { join(); }

Status StreamSender::start() {
  return start_thread(&thread_, [this] { run(); });
}

void StreamSender::stop() {
  if (socket_) socket_->shut_down();
}

void StreamSender::join() {
  if (thread_.joinable()) thread_.join();
  queues_.clear();  // they use the taps' origins
}

void StreamSender::run() {
  Status status = contain([this] { return work(); });
  if (!status.ok()) sender_.fail(std::move(status));
}

Status StreamSender::work() {
  for (;;) {
    Order order = next_order();
    if (order == Order::stop) return {};
    if (index_ == 0) sender_.age_when_due();
    Status status;
    if (order == Order::mark) {
      status = send_mark(marked_ + 1);
    } else if (confirm()) {
      status = send_frames();
    } else if (collect()) {
      status = read_extents();
      if (status.ok()) frame_extents();
      if (status.ok()) status = send_frames();
    } else {
      status = end_pass();
    }
    if (!status.ok()) return status;
  }
}

// Waits while paused, and after the final mark until that is taken back.
StreamSender::Order StreamSender::next_order() {
  std::unique_lock lock(sender_.mutex_);
  for (;;) {
    if (sender_.stop_.load()) return Order::stop;
    if (sender_.final_mark_ != final_mark_) {
      final_mark_ = sender_.final_mark_;
      rewind();
    }
    if (finishing()) return Order::send;
    if (final_mark_ == 0) {
      if (sender_.wanted_mark_ > marked_) return Order::mark;
      if (!sender_.paused_) return Order::send;
    }
    sender_.changed_.wait(lock);
  }
}

Status StreamSender::send_mark(uint64_t number) {
  FrameHeader header;
  header.type = FrameType::mark;
  header.length = number;
  uint8_t bytes[kHeaderSize];
  encode_header(header, bytes);
  iovec part{bytes, sizeof bytes};
  Status status = socket_->send(&part, 1);
  if (!status.ok()) return status;
  marked_ = number;
  sender_.stream_marked(number);
  return {};
}

void StreamSender::rewind() {
  disk_ = 0;
  block_ = 0;
  found_in_pass_ = false;
}

// A pass that began at the first block found nothing more.
Status StreamSender::end_pass() {
  if (waits_for_inventory_) {
    waits_for_inventory_ = false;
    rewind();
    idle();
    return {};
  }
  bool found = found_in_pass_;
  if (found) counters_.passes++;
  rewind();
  if (bulk_) {
    bulk_ = false;
    sender_.stream_finished_bulk();
  }
  if (found) return {};
  if (finishing()) return send_mark(final_mark_);
  idle();
  return {};
}

void StreamSender::idle() {
  auto begin = Clock::now();
  {
    std::unique_lock lock(sender_.mutex_);
    sender_.changed_.wait_for(lock, kIdleWait);
  }
  auto waited = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - begin);
  counters_.idle_us += static_cast<uint64_t>(waited.count());
}

}  // namespace blockferry
