#include "nbd/replies.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>

namespace blockferry {

using namespace nbd;

namespace {

constexpr size_t kArena = 256 << 10;
constexpr size_t kMaxParts = 64;  // sent in one call
constexpr uint32_t kDataOffsetSize = 8;
constexpr uint32_t kHoleSize = 12;
constexpr uint32_t kErrorSize = 6;
constexpr uint32_t kExtentSize = 8;

}  // namespace

// `length` bytes in a row for the next headers. They count only when committed.
uint8_t* NbdReplies::room(size_t length) {
  if (parts_.empty()) arena_used_ = 0;
  if (arena_.capacity - arena_used_ < length) new_arena();
  return arena_.data() + arena_used_;
}

// The full arena is given back once everything before this place has been sent.
void NbdReplies::new_arena() {
  if (arena_.memory) parts_.push_back({nullptr, 0, std::move(arena_)});
  arena_ = pool_.take(kArena);
  arena_used_ = 0;
}

void NbdReplies::commit(size_t length) {
  push(arena_.data() + arena_used_, length);
  arena_used_ += length;
}

void NbdReplies::push(const uint8_t* data, size_t length) {
  bytes_ += length;
  if (!parts_.empty() && !parts_.back().owned.memory &&
      parts_.back().data + parts_.back().length == data) {
    parts_.back().length += length;
  } else {
    parts_.push_back({data, length, {}});
  }
}

void NbdReplies::success(const Request& request) {
  uint8_t* at = put32(room(kSimpleReplySize), kSimpleReplyMagic);
  put64(put32(at, kOk), request.handle);
  commit(kSimpleReplySize);
}

void NbdReplies::error(const Request& request, Error error) {
  bool chunk = structured_ && (request.command == kCmdRead || request.command == kCmdBlockStatus);
  if (!chunk) {
    uint8_t* at = put32(room(kSimpleReplySize), kSimpleReplyMagic);
    put64(put32(at, error), request.handle);
    return commit(kSimpleReplySize);
  }
  uint8_t* at = room(kChunkHeaderSize + kErrorSize);
  at = put_chunk_header(at, request, kChunkError, kErrorSize, true);
  put16(put32(at, error), 0);
  commit(kChunkHeaderSize + kErrorSize);
}

uint8_t* NbdReplies::put_chunk_header(uint8_t* at, const Request& request, ChunkType type,
                                      uint32_t length, bool last) const {
  at = put32(at, kStructuredReplyMagic);
  at = put16(at, last ? kReplyDone : 0);
  at = put16(at, type);
  return put32(put64(at, request.handle), length);
}

uint32_t NbdReplies::read_header_size() const {
  return structured_ ? kChunkHeaderSize + kDataOffsetSize : kSimpleReplySize;
}

uint8_t* NbdReplies::put_read_header(uint8_t* at, const Request& request, uint64_t offset,
                                     uint32_t length, bool last) const {
  if (!structured_) return put64(put32(put32(at, kSimpleReplyMagic), kOk), request.handle);
  at = put_chunk_header(at, request, kChunkData, kDataOffsetSize + length, last);
  return put64(at, offset);
}

uint8_t* NbdReplies::small_read_place(const Request& request) {
  return room(read_header_size() + request.length) + read_header_size();
}

void NbdReplies::small_read(const Request& request) {
  put_read_header(arena_.data() + arena_used_, request, request.offset, request.length, true);
  commit(read_header_size() + request.length);
}

void NbdReplies::read(const Request& request, NbdBuffer buffer,
                      const std::vector<OriginExtent>& extents) {
  const OriginExtent all{request.length, false};
  const OriginExtent* extent = extents.empty() ? &all : extents.data();
  for (uint64_t done = 0; done < request.length; extent++) {
    auto length = static_cast<uint32_t>(extent->length);
    bool last = done + length >= request.length;
    if (extent->hole) {
      put_hole(request, request.offset + done, length, last);
    } else {
      put_read_header(room(read_header_size()), request, request.offset + done, length, last);
      commit(read_header_size());
      push(buffer.data() + done, length);
    }
    done += length;
  }
  parts_.push_back({nullptr, 0, std::move(buffer)});
}

void NbdReplies::put_hole(const Request& request, uint64_t offset, uint32_t length, bool last) {
  uint8_t* at = room(kChunkHeaderSize + kHoleSize);
  at = put_chunk_header(at, request, kChunkHole, kHoleSize, last);
  put32(put64(at, offset), length);
  commit(kChunkHeaderSize + kHoleSize);
}

void NbdReplies::block_status(const Request& request, const std::vector<OriginExtent>& extents) {
  auto length = static_cast<uint32_t>(sizeof(uint32_t) + extents.size() * kExtentSize);
  uint8_t* at = room(kChunkHeaderSize + length);
  at = put_chunk_header(at, request, kChunkBlockStatus, length, true);
  at = put32(at, kAllocationContext);
  for (const OriginExtent& extent : extents) {
    at = put32(at, static_cast<uint32_t>(extent.length));
    at = put32(at, extent.hole ? kStateHole | kStateZero : 0);
  }
  commit(kChunkHeaderSize + length);
}

bool NbdReplies::send(int fd) {
  while (bytes_ > 0) {
    iovec vector[kMaxParts];
    size_t count = 0;
    for (const Part& part : parts_) {
      if (count == kMaxParts) break;
      if (part.length > 0) vector[count++] = {const_cast<uint8_t*>(part.data), part.length};
    }
    msghdr message{};
    message.msg_iov = vector;
    message.msg_iovlen = count;
    ssize_t put = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
    sent(static_cast<size_t>(put));
  }
  return true;
}

void NbdReplies::sent(size_t length) {
  bytes_ -= length;
  while (!parts_.empty() && parts_.front().length <= length) {
    length -= parts_.front().length;
    pool_.give_back(std::move(parts_.front().owned));
    parts_.pop_front();
  }
  if (length > 0) {
    parts_.front().data += length;
    parts_.front().length -= length;
  }
}

}  // namespace blockferry
