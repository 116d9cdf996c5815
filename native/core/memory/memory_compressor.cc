#include "memory/memory_compressor.h"

#include <zstd.h>

#include <new>

namespace blockferry {

StreamCompressor::StreamCompressor() : context_(ZSTD_createCCtx()) {
  if (context_ == nullptr) throw std::bad_alloc();
}

StreamCompressor::~StreamCompressor() { ZSTD_freeCCtx(context_); }

Status StreamCompressor::compress(const uint8_t* bytes, size_t length, int level,
                                  const std::vector<uint8_t>** out) {
  if (!started_) {
    started_ = true;
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_enableLongDistanceMatching, 1);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_windowLog, kStreamWindowLog);
  }
  output_.resize(ZSTD_compressBound(length) + 64);
  ZSTD_inBuffer input{bytes, length, 0};
  ZSTD_outBuffer output{output_.data(), output_.size(), 0};
  size_t left = ZSTD_compressStream2(context_, &output, &input, ZSTD_e_flush);
  if (ZSTD_isError(left)) return Status::failure(Code::no_memory, ZSTD_getErrorName(left));
  // The bound holds for a whole frame; a flushed piece is never larger.
  if (left != 0) return Status::failure(Code::no_memory, "compress a piece of memory");
  output_.resize(output.pos);
  *out = &output_;
  return {};
}

StreamDecompressor::StreamDecompressor() : context_(ZSTD_createDCtx()) {
  if (context_ == nullptr) throw std::bad_alloc();
  ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, kStreamWindowLog);
}

StreamDecompressor::~StreamDecompressor() { ZSTD_freeDCtx(context_); }

Status StreamDecompressor::decompress(const uint8_t* bytes, size_t size, uint8_t* output,
                                      size_t length) {
  ZSTD_inBuffer in{bytes, size, 0};
  ZSTD_outBuffer out{output, length, 0};
  while (in.pos < in.size) {
    size_t before = in.pos + out.pos;
    size_t result = ZSTD_decompressStream(context_, &out, &in);
    if (ZSTD_isError(result) || in.pos + out.pos == before) break;
  }
  if (in.pos == in.size && out.pos == out.size) return {};
  return Status::failure(Code::protocol, "a piece of memory does not decompress to its length");
}

}  // namespace blockferry
