#include "receive/stream.h"

#include <algorithm>

#include "disk/block_hash.h"
#include "wire/wire.h"

namespace blockferry {

namespace {

Status broken(const std::string& what) { return Status::failure(Code::protocol, what); }
Status sealed() { return broken("a frame that comes behind the commit"); }

}  // namespace

StreamReceiver::StreamReceiver(ReceiverSession& session, unsigned index, unsigned count,
                               FrameReader& reader)
    : session_(session),
      index_(index),
      count_(count),
      reader_(reader),
      content_(make_aligned_buffer(kMaxExtent)) {}

Status StreamReceiver::run() {
  for (;;) {
    FrameHeader header;
    Status status = reader_.header(&header);
    if (status.ok()) status = take(header);
    if (!status.ok()) return status;
  }
}

Status StreamReceiver::take(const FrameHeader& header) {
  session_.wire_bytes_ += kHeaderSize + header.payload;
  if (header.type == FrameType::mark) return take_mark(header);
  if (header.type != FrameType::data && header.type != FrameType::zero &&
      header.type != FrameType::same) {
    return broken("a frame that does not belong on a data stream");
  }
  ReceivedDisk* disk;
  BlockRange blocks;
  Status status = check_place(header, &disk, &blocks);
  if (status.ok() && header.type == FrameType::data) status = take_content(header, *disk, blocks);
  return status.ok() ? apply(header, *disk, blocks) : status;
}

// Nothing is waited for here but the disk: the seal waits for it.
Status StreamReceiver::apply(const FrameHeader& header, ReceivedDisk& disk, BlockRange blocks) {
  auto turn = session_.seal_.enter(index_);
  if (!turn.owns_lock()) return sealed();
  if (header.type == FrameType::same) return apply_same(header, disk, blocks);
  return header.type == FrameType::data ? apply_data(header, disk, blocks)
                                        : apply_zero(header, disk, blocks);
}

// Whole blocks of a known disk, inside one stripe of this stream.
Status StreamReceiver::check_place(const FrameHeader& header, ReceivedDisk** disk,
                                   BlockRange* blocks) const {
  if (header.disk >= session_.disks_.size()) return broken("an unknown disk");
  ReceivedDisk& found = *session_.disks_[header.disk];
  if (header.offset % found.block_size != 0 || header.offset >= found.size ||
      header.length > found.size - header.offset) {
    return broken("an extent outside its disk");
  }
  uint64_t end = header.offset + header.length;
  if (end % found.block_size != 0 && end != found.size) return broken("an extent of part blocks");
  uint64_t stripe = header.offset / kStripe;
  if ((end - 1) / kStripe != stripe || stripe % count_ != index_) {
    return broken("an extent on a stream that is not its own");
  }
  blocks->first = header.offset / found.block_size;
  blocks->count = (header.length + found.block_size - 1) / found.block_size;
  *disk = &found;
  return {};
}

// Until it is known to be what was sent.
Status StreamReceiver::take_content(const FrameHeader& header, const ReceivedDisk& disk,
                                    BlockRange blocks) {
  bool packed = header.flags & kFlagZstd;
  if (packed && !packed_) packed_ = make_aligned_buffer(kMaxExtent);
  Status status = reader_.payload(packed ? packed_.get() : content_.get(), header.payload);
  if (status.ok() && packed) {
    status = decompressor_.decompress(packed_.get(), header.payload, content_.get(), header.length);
  }
  if (!status.ok()) return status;
  hashes_.resize(std::max<size_t>(hashes_.size(), blocks.count));
  hash_blocks(content_.get(), header.length, disk.block_size, hashes_.data());
  if (check_of(hashes_.data(), blocks.count, header.offset) != header.check) {
    return Status::failure(Code::checksum, "the extent at " + std::to_string(header.offset) +
                                               " does not match its checksum");
  }
  return {};
}

Status StreamReceiver::apply_data(const FrameHeader& header, ReceivedDisk& disk,
                                  BlockRange blocks) {
  disk.digest.expect(blocks, hashes_.data(), mark_ & 1);
  session_.content_bytes_ += header.length;
  return disk.tap->origin().write(content_.get(), header.offset, header.length, false);
}

Status StreamReceiver::apply_zero(const FrameHeader& header, ReceivedDisk& disk,
                                  BlockRange blocks) {
  bool zero_already = disk.digest.still_blank(blocks);
  disk.digest.expect(blocks, nullptr, mark_ & 1);
  session_.zero_bytes_ += header.length;
  if (zero_already) return {};
  ZeroMode mode = disk.allocated ? ZeroMode::keep_space : ZeroMode::may_trim;
  return disk.tap->origin().write_zeroes(header.offset, header.length, mode, false);
}

Status StreamReceiver::apply_same(const FrameHeader& header, ReceivedDisk& disk,
                                  BlockRange blocks) {
  bool same = disk.inventory;
  if (header.flags & kFlagZeroes) {
    same = same && header.check == check_of(nullptr, 0, header.offset) &&
           disk.digest.confirm_zeroes(blocks);
  } else {
    same = same && disk.digest.confirm(blocks, header.check, header.offset);
  }
  if (same) return {};
  return broken("an extent that is said to be here and is not");
}

Status StreamReceiver::take_mark(const FrameHeader& header) {
  auto turn = session_.seal_.enter(index_);
  if (!turn.owns_lock()) return sealed();
  if (header.length != mark_ + 1) return broken("a mark out of order");
  {
    // Two generations of unverified blocks are all there are.
    std::lock_guard lock(session_.mutex_);
    if (session_.verified_mark_ != mark_) return broken("a mark before the last was verified");
  }
  mark_ = header.length;
  session_.stream_marked(index_, mark_);
  return {};
}

}  // namespace blockferry
