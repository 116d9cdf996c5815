// zstd over a whole stream: what was sent once is cheap to send again, as far back as the window.
// A machine's memory is sent again and again in little changed pages.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace blockferry {

// How far back a match may lie: 128 MiB, which is also what each side needs in memory.
inline constexpr int kStreamWindowLog = 27;

class StreamCompressor {
 public:
  StreamCompressor();
  ~StreamCompressor();
  // The next piece of the stream, so that the peer can decompress all of it. The result is valid
  // until the next call. `level` counts at the first call only.
  Status compress(const uint8_t* bytes, size_t length, int level, const std::vector<uint8_t>** out);

 private:
  ZSTD_CCtx_s* context_;
  bool started_ = false;
  std::vector<uint8_t> output_;
};

class StreamDecompressor {
 public:
  StreamDecompressor();
  ~StreamDecompressor();
  // Code::protocol unless the piece gives exactly `length` bytes.
  Status decompress(const uint8_t* bytes, size_t size, uint8_t* output, size_t length);

 private:
  ZSTD_DCtx_s* context_;
};

}  // namespace blockferry
