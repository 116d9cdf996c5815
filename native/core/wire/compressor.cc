#include "wire/compressor.h"

#include <zstd.h>

#include <new>

namespace blockferry {

Compressor::Compressor() : context_(ZSTD_createCCtx()) {
  if (context_ == nullptr) throw std::bad_alloc();
}

Compressor::~Compressor() { ZSTD_freeCCtx(context_); }

const uint8_t* Compressor::compress(const uint8_t* bytes, uint64_t length, int level,
                                    uint32_t* size) {
  if (!output_) output_.reset(new uint8_t[kBatch]);
  uint64_t limit = length - length / 8;
  if (limit > kBatch - used_) return nullptr;
  uint8_t* at = output_.get() + used_;
  size_t got = ZSTD_compressCCtx(context_, at, limit, bytes, length, level);
  if (ZSTD_isError(got)) return nullptr;  // it did not fit into the limit
  used_ += got;
  *size = static_cast<uint32_t>(got);
  return at;
}

Decompressor::Decompressor() : context_(ZSTD_createDCtx()) {
  if (context_ == nullptr) throw std::bad_alloc();
}

Decompressor::~Decompressor() { ZSTD_freeDCtx(context_); }

Status Decompressor::decompress(const uint8_t* bytes, uint32_t size, uint8_t* output,
                                uint64_t length) {
  size_t got = ZSTD_decompressDCtx(context_, output, length, bytes, size);
  if (!ZSTD_isError(got) && got == length) return {};
  return Status::failure(Code::protocol, "a payload does not decompress to its length");
}

}  // namespace blockferry
