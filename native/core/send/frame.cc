// The way of what a stream claimed: read, hash, frame, send.
#include <poll.h>

#include <algorithm>

#include "disk/block_hash.h"
#include "send/stream.h"

namespace blockferry {

namespace {

// Runs shorter than this that need no payload travel inside the data around them all the same.
constexpr uint64_t kMinRun = 16 << 10;
constexpr std::chrono::milliseconds kQueueWait{1};

}  // namespace

IoQueue& StreamSender::queue_of(uint32_t disk) {
  auto& queue = queues_[disk];
  if (!queue) queue = make_io_queue(sender_.disks_[disk]->tap->origin(), kMaxExtentsInBatch);
  return *queue;
}

// What is in the page cache is read at once, the rest in parallel.
Status StreamSender::read_extents() {
  reads_.clear();
  for (const Extent& extent : extents_) {
    if (extent.hole) continue;
    Origin& origin = sender_.disks_[extent.disk]->tap->origin();
    if (origin.read_without_waiting(extent.buffer, extent.offset, extent.length)) continue;
    IoRequest request;
    request.kind = IoKind::read;
    request.offset = extent.offset;
    request.length = extent.length;
    request.buffer = extent.buffer;
    reads_.push_back(std::move(request));
    queue_of(extent.disk).submit(&reads_.back());
  }
  size_t left = reads_.size();
  while (left > 0) {
    for (auto& queue : queues_) {
      while (queue && queue->reap() != nullptr) left--;
    }
    if (left == 0) break;
    std::vector<pollfd> waits;
    for (auto& queue : queues_) {
      if (queue) waits.push_back({queue->wait_fd(), POLLIN, 0});
    }
    poll(waits.data(), waits.size(), -1);
  }
  for (IoRequest& request : reads_) {
    if (!request.status.ok()) return std::move(request.status);
  }
  return {};
}

// A block that the destination holds already is not sent, whatever it is.
StreamSender::Kind StreamSender::kind_of(const SentDisk& disk, uint64_t block,
                                         uint64_t hash) const {
  if (disk.peer && disk.peer->is(block, hash)) return Kind::same;
  return hash == kZeroBlock ? Kind::zero : Kind::data;
}

void StreamSender::frame_extent(const Extent& extent) {
  SentDisk& disk = *sender_.disks_[extent.disk];
  uint32_t block_size = disk.dirty->block_size();
  if (extent.hole) {
    bool same = disk.peer && disk.peer->all_zero(extent.blocks);
    frame_run(extent, {0, extent.blocks.count}, nullptr, same ? Kind::same : Kind::zero);
    return;
  }
  uint64_t count = extent.blocks.count;
  hashes_.resize(std::max<size_t>(hashes_.size(), count));
  hash_blocks(extent.buffer, extent.length, block_size, hashes_.data());
  uint64_t min_run = std::min(std::max<uint64_t>(kMinRun / block_size, 1), count);
  uint64_t data_from = 0;
  for (uint64_t at = 0; at < count;) {
    Kind kind = kind_of(disk, extent.blocks.first + at, hashes_[at]);
    uint64_t end = at + 1;
    while (end < count && kind_of(disk, extent.blocks.first + end, hashes_[end]) == kind) end++;
    if (kind != Kind::data && end - at >= min_run) {
      if (at > data_from) {
        frame_run(extent, {data_from, at - data_from}, &hashes_[data_from], Kind::data);
      }
      frame_run(extent, {at, end - at}, &hashes_[at], kind);
      data_from = end;
    }
    at = end;
  }
  if (count > data_from) {
    frame_run(extent, {data_from, count - data_from}, &hashes_[data_from], Kind::data);
  }
}

// `run` counts from the extent's first block. Null `hashes` stand for zeroes.
void StreamSender::frame_run(const Extent& extent, BlockRange run, const uint64_t* hashes,
                             Kind kind) {
  SentDisk& disk = *sender_.disks_[extent.disk];
  uint64_t block_size = disk.dirty->block_size();
  uint64_t at = run.first * block_size;
  BlockRange blocks{extent.blocks.first + run.first, run.count};
  uint64_t different = first_difference(disk, blocks, hashes);
  if (different == blocks.end() && (kind == Kind::data || kind == Kind::zero)) {
    return frame_held(extent, run, hashes);
  }
  Frame frame;
  frame.header.disk = extent.disk;
  frame.header.offset = extent.offset + at;
  frame.header.length = std::min(run.count * block_size, extent.length - at);
  frame.overwrites = block_size * different;
  // The destination held zeroes there from the start, and nothing else was sent since.
  bool known = kind == Kind::zero && disk.peer_blank && disk.digest.all_zero(blocks);
  disk.digest.sent(blocks, kind == Kind::zero ? nullptr : hashes);
  // Said once: from here on the destination counts the blocks as received.
  if (disk.peer) disk.peer->forget(blocks);
  counter_of(disk, kind) += frame.header.length;
  if (known || kind == Kind::kept) return;
  if (kind == Kind::data) add_payload(extent.buffer + at, hashes, run.count, &frame);
  if (kind == Kind::zero) frame.header.type = FrameType::zero;
  if (kind == Kind::same) {
    frame.header.type = FrameType::same;
    if (hashes == nullptr) frame.header.flags = kFlagZeroes;
    frame.header.check = check_of(hashes, hashes ? run.count : 0, frame.header.offset);
  }
  disk.wire_bytes += kHeaderSize + frame.header.payload;
  frames_.push_back(frame);
}

// From what was told that the destination holds, as long as nothing was overwritten there; the range's end for
// none. Null `hashes` stand for zeroes.
uint64_t StreamSender::first_difference(const SentDisk& disk, BlockRange blocks,
                                        const uint64_t* hashes) {
  if (disk.peer == nullptr || disk.separate.load()) return blocks.first;
  for (uint64_t i = 0; i < blocks.count; i++) {
    if (!disk.peer->held(blocks.first + i, hashes ? hashes[i] : kZeroBlock))
      return blocks.first + i;
  }
  return blocks.end();
}

// Written anew, and the same as before. It need not be shown that such a disk is another.
void StreamSender::frame_held(const Extent& extent, BlockRange run, const uint64_t* hashes) {
  SentDisk& disk = *sender_.disks_[extent.disk];
  for (uint64_t i = 0; i < run.count; i++) {
    uint64_t hash = hashes ? hashes[i] : kZeroBlock;
    bool known = disk.peer->is(extent.blocks.first + run.first + i, hash);
    frame_run(extent, {run.first + i, 1}, hashes ? &hashes[i] : nullptr,
              known ? Kind::same : Kind::kept);
  }
}

std::atomic<uint64_t>& StreamSender::counter_of(SentDisk& disk, Kind kind) {
  if (kind == Kind::same || kind == Kind::kept) return disk.same_bytes;
  return kind == Kind::zero ? disk.zero_bytes : disk.content_bytes;
}

void StreamSender::add_payload(const uint8_t* bytes, const uint64_t* hashes, uint64_t count,
                               Frame* frame) {
  FrameHeader& header = frame->header;
  header.type = FrameType::data;
  header.check = check_of(hashes, count, header.offset);
  header.payload = static_cast<uint32_t>(header.length);
  frame->payload = bytes;
  int level = sender_.compression_.load();
  if (level == 0) return;
  uint32_t size = 0;
  const uint8_t* packed = compressor_.compress(bytes, header.length, level, &size);
  if (packed == nullptr) return;
  header.flags = kFlagZstd;
  header.payload = size;
  frame->payload = packed;
}

void StreamSender::frame_extents() {
  frames_.clear();
  compressor_.reset();
  for (const Extent& extent : extents_) frame_extent(extent);
}

// What overwrites nothing may go at once.
Status StreamSender::await_separate() {
  for (const Frame& frame : frames_) {
    if (frame.header.type == FrameType::same) continue;
    Status status = sender_.await_separate(frame.header.disk, frame.overwrites);
    if (!status.ok()) return status;
  }
  return {};
}

// In as few calls as possible.
Status StreamSender::send_frames() {
  if (frames_.empty()) return {};
  Status status = await_separate();
  if (!status.ok()) return status;
  std::vector<std::array<uint8_t, kHeaderSize>> headers(frames_.size());
  std::vector<iovec> parts;
  parts.reserve(frames_.size() * 2);
  uint64_t bytes = 0;
  for (size_t i = 0; i < frames_.size(); i++) {
    const FrameHeader& header = frames_[i].header;
    encode_header(header, headers[i].data());
    parts.push_back({headers[i].data(), kHeaderSize});
    if (header.payload != 0) {
      parts.push_back({const_cast<uint8_t*>(frames_[i].payload), header.payload});
    }
    bytes += kHeaderSize + header.payload;
  }
  pace(bytes);
  return socket_->send(parts.data(), parts.size());
}

// Waits for the bandwidth cap, then until little enough waits in the socket.
void StreamSender::pace(uint64_t bytes) {
  auto stopped = [this] { return sender_.stop_.load(); };
  sender_.pacer_.wait(bytes, stopped);
  std::unique_lock lock(sender_.mutex_);
  while (!stopped()) {
    uint64_t limit = sender_.max_in_flight_.load() / count_;
    if (limit == 0) return;
    uint64_t queued = socket_->progress().in_flight;
    if (queued == 0 || queued + bytes <= limit) return;
    sender_.stopping_.wait_for(lock, kQueueWait, stopped);
  }
}

}  // namespace blockferry
