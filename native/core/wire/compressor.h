// zstd for the payloads of frames.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/status.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace blockferry {

class Compressor {
 public:
  Compressor();
  ~Compressor();
  // Forgets what was compressed before; the results of compress() become invalid.
  void reset() { used_ = 0; }
  // The compressed bytes, or null when they would not be at least an eighth smaller. Results of
  // one batch (at most `kBatch` bytes of input) stay valid until reset().
  const uint8_t* compress(const uint8_t* bytes, uint64_t length, int level, uint32_t* size);

  static constexpr uint64_t kBatch = 1 << 20;

 private:
  ZSTD_CCtx_s* context_;
  std::unique_ptr<uint8_t[]> output_;  // allocated at the first use
  size_t used_ = 0;
};

class Decompressor {
 public:
  Decompressor();
  ~Decompressor();
  // Code::protocol unless it gives exactly `length` bytes.
  Status decompress(const uint8_t* bytes, uint32_t size, uint8_t* output, uint64_t length);

 private:
  ZSTD_DCtx_s* context_;
};

}  // namespace blockferry
