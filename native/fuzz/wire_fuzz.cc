// The header of a frame, and the texts of greetings and errors.
#include <cstdlib>
#include <cstring>

#include "frames.h"
#include "wire/frame_io.h"

using namespace blockferry;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint8_t bytes[kHeaderSize] = {}, again[kHeaderSize];
  memcpy(bytes, data, std::min<size_t>(size, sizeof bytes));
  for (int round = 0; round < 2; round++) {
    FrameHeader header;
    if (decode_header(bytes, &header).ok()) {
      encode_header(header, again);
      if (memcmp(bytes, again, sizeof bytes) != 0) abort();
    }
    // The second time with the check that belongs to it.
    uint64_t check = XXH3_64bits(bytes, kHeaderSize - sizeof check);
    memcpy(bytes + kHeaderSize - sizeof check, &check, sizeof check);
  }
  Status status = error_from_text(std::string(reinterpret_cast<const char*>(data), size));
  if (status.ok()) abort();
  (void)error_from_text(error_text(status));
  return 0;
}
