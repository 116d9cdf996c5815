// One data stream of a ReceiverSession: takes frames, checks them, writes them.
#pragma once

#include <vector>

#include "base/aligned_buffer.h"
#include "receive/session.h"
#include "wire/compressor.h"
#include "wire/frame_io.h"

namespace blockferry {

class StreamReceiver {
 public:
  StreamReceiver(ReceiverSession& session, unsigned index, unsigned count, FrameReader& reader);
  // Until the connection ends or something is wrong with it.
  Status run();

 private:
  Status take(const FrameHeader& header);
  Status check_place(const FrameHeader& header, ReceivedDisk** disk, BlockRange* blocks) const;
  Status take_content(const FrameHeader& header, const ReceivedDisk& disk, BlockRange blocks);
  Status apply(const FrameHeader& header, ReceivedDisk& disk, BlockRange blocks);
  Status apply_data(const FrameHeader& header, ReceivedDisk& disk, BlockRange blocks);
  Status apply_zero(const FrameHeader& header, ReceivedDisk& disk, BlockRange blocks);
  Status apply_same(const FrameHeader& header, ReceivedDisk& disk, BlockRange blocks);
  Status take_mark(const FrameHeader& header);

  ReceiverSession& session_;
  unsigned index_, count_;
  FrameReader& reader_;
  uint64_t mark_ = 0;  // the last that came
  AlignedBuffer content_;
  AlignedBuffer packed_;  // allocated at the first compressed frame
  std::vector<uint64_t> hashes_;
  Decompressor decompressor_;
};

}  // namespace blockferry
