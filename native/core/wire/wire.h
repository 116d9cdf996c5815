// The wire format of a migration: one frame format for everything, little endian.
//
//   0  u32 magic "BFRY"     4 u8 version   5 u8 type   6 u16 flags
//   8  u32 disk            12 u32 payload length
//  16  u64 offset          24 u64 length (of the content, in bytes; a mark's number)
//  32  u64 content check   40 u64 header check (XXH3-64 of bytes 0 to 39)
//
// The version byte stays at its place in every version, so that a peer of another version gets
// a clear answer. A connection begins with HELLO from the side that connected, answered by
// WELCOME or ERROR. Control messages and data travel on connections of their own.
//
// The content check of DATA and SAME is the XXH3-64 of the list of block hashes (disk/block_hash.h) of the
// content, seeded with the offset; of text frames (HELLO, WELCOME, ERROR, CONTROL) it is the
// XXH3-64 of the payload; of MACHINE it is the XXH3-64 of the content.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace blockferry {

inline constexpr uint32_t kMagic = 0x59524642;  // "BFRY"
inline constexpr uint8_t kWireVersion = 1;
inline constexpr uint32_t kHeaderSize = 48;

enum class FrameType : uint8_t {
  hello = 1,    // text: "control", "data SESSION INDEX COUNT", "machine SESSION" or
                // "inventory SESSION"
  welcome = 2,  // text: the session
  error = 3,    // text: "CODE words"; the connection ends behind it
  control = 4,  // JSON: between the two sides' state machines
  data = 5,     // content of an extent
  zero = 6,     // an extent of zeroes, no payload
  mark = 7,     // everything before it on this stream belongs to checkpoint `length`
  machine = 8,  // a piece of the machine's memory stream; without content: its end
  hashes = 9,  // destination → source: the block hashes of what a disk holds, in its order; without
               // a payload: all zeroes there, any length; without a length: that was all
  same = 10,  // an extent that the destination holds already, by its hashes; no payload
};

// The payload of DATA or MACHINE is compressed with zstd, of MACHINE as the next piece of one
// stream; `length` is the size of the content.
inline constexpr uint16_t kFlagZstd = 1;
// SAME: all of the extent is zeroes. Its check is that of no hashes, as that of HASHES without a payload.
inline constexpr uint16_t kFlagZeroes = 2;

inline constexpr uint32_t kMaxHello = 4096;
inline constexpr uint32_t kMaxControl = 1 << 20;
inline constexpr uint32_t kMaxExtent = 1 << 20;  // content and payload of DATA and MACHINE
// Streams share a disk by stripes: a stripe always travels on the same stream, so that no older
// version of a block can overtake a newer one. A ZERO frame stays inside one stripe.
inline constexpr uint64_t kStripe = 16 << 20;
inline constexpr uint32_t kMaxStreams = 16;

struct FrameHeader {
  FrameType type = FrameType::control;
  uint16_t flags = 0;
  uint32_t disk = 0;
  uint32_t payload = 0;
  uint64_t offset = 0;
  uint64_t length = 0;
  uint64_t check = 0;
};

void encode_header(const FrameHeader& header, uint8_t* bytes);
// Code::protocol, Code::version or Code::checksum; also when a length is over its limit.
Status decode_header(const uint8_t* bytes, FrameHeader* header);

FrameHeader text_header(FrameType type, const std::string& text);
Status check_text(const FrameHeader& header, const std::string& text);

}  // namespace blockferry
