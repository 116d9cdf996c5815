// The replies of one connection that are still to be sent: built one behind the other in memory,
// sent together. Belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "disk/origin.h"
#include "nbd/buffers.h"
#include "nbd/protocol.h"

namespace blockferry {

class NbdReplies {
 public:
  // Reads up to this size are put among the headers; larger ones are sent from their own buffer.
  static constexpr uint32_t kSmallRead = 32 << 10;

  NbdReplies(NbdBufferPool& pool, bool structured) : pool_(pool), structured_(structured) {}

  void success(const nbd::Request& request);
  void error(const nbd::Request& request, nbd::Error error);

  // A small read in two steps: where its data goes, then the reply once it is there. In between
  // nothing else may be called; without the second step nothing happened.
  uint8_t* small_read_place(const nbd::Request& request);
  void small_read(const nbd::Request& request);

  // The data is in `buffer`. `extents` tells the holes in it (they are sent as such); empty means
  // all data.
  void read(const nbd::Request& request, NbdBuffer buffer,
            const std::vector<OriginExtent>& extents);
  // The extents, one after the other from the request's offset on. Only with structured replies.
  void block_status(const nbd::Request& request, const std::vector<OriginExtent>& extents);

  bool empty() const { return bytes_ == 0; }
  size_t bytes() const { return bytes_; }

  // Sends what the socket takes without waiting. False when the peer is gone.
  bool send(int fd);

 private:
  // A run of bytes to send, and a buffer to give back after it.
  struct Part {
    const uint8_t* data = nullptr;
    size_t length = 0;
    NbdBuffer owned;
  };

  uint32_t read_header_size() const;
  uint8_t* put_chunk_header(uint8_t* at, const nbd::Request& request, nbd::ChunkType type,
                            uint32_t length, bool last) const;
  uint8_t* put_read_header(uint8_t* at, const nbd::Request& request, uint64_t offset,
                           uint32_t length, bool last) const;
  void put_hole(const nbd::Request& request, uint64_t offset, uint32_t length, bool last);
  uint8_t* room(size_t length);
  void commit(size_t length);
  void push(const uint8_t* data, size_t length);
  void new_arena();
  void sent(size_t length);

  NbdBufferPool& pool_;
  bool structured_;
  std::deque<Part> parts_;
  size_t bytes_ = 0;
  // Headers and small data go here, one behind the other.
  NbdBuffer arena_;
  size_t arena_used_ = 0;
};

}  // namespace blockferry
