// The NBD protocol's numbers and byte order, after the NBD project's doc/proto.md.
// lib/nbd/protocol.ts carries the client's part of them.
#pragma once

#include <endian.h>

#include <cstdint>
#include <cstring>

namespace blockferry::nbd {

// Handshake.
constexpr uint64_t kServerMagic = 0x4e42444d41474943;  // "NBDMAGIC"
constexpr uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;
constexpr uint16_t kFixedNewstyle = 1 << 0;  // the server's flag and the client's
constexpr uint16_t kNoZeroes = 1 << 1;       // likewise

enum Option : uint32_t {
  kOptExportName = 1,
  kOptAbort = 2,
  kOptList = 3,
  kOptStartTls = 5,
  kOptInfo = 6,
  kOptGo = 7,
  kOptStructuredReply = 8,
  kOptListMetaContext = 9,
  kOptSetMetaContext = 10,
};

enum OptionReply : uint32_t {
  kRepAck = 1,
  kRepServer = 2,
  kRepInfo = 3,
  kRepMetaContext = 4,
  kRepErrUnsupported = (1u << 31) | 1,
  kRepErrInvalid = (1u << 31) | 3,
  kRepErrUnknown = (1u << 31) | 6,
};

enum Info : uint16_t {
  kInfoExport = 0,
  kInfoName = 1,
  kInfoDescription = 2,
  kInfoBlockSize = 3,
};

constexpr uint32_t kMaxString = 4096;  // names, descriptions and queries

// Transmission flags of an export.
enum TransmissionFlag : uint16_t {
  kHasFlags = 1 << 0,
  kReadOnly = 1 << 1,
  kSendFlush = 1 << 2,
  kSendFua = 1 << 3,
  kSendTrim = 1 << 5,
  kSendWriteZeroes = 1 << 6,
  kSendDontFragment = 1 << 7,
  kCanMultiConn = 1 << 8,
  kSendCache = 1 << 10,
  kSendFastZero = 1 << 11,
};

// Requests.
constexpr uint32_t kRequestMagic = 0x25609513;
constexpr uint32_t kRequestSize = 28;

enum Command : uint16_t {
  kCmdRead = 0,
  kCmdWrite = 1,
  kCmdDisconnect = 2,
  kCmdFlush = 3,
  kCmdTrim = 4,
  kCmdCache = 5,
  kCmdWriteZeroes = 6,
  kCmdBlockStatus = 7,
};

enum CommandFlag : uint16_t {
  kFlagFua = 1 << 0,
  kFlagNoHole = 1 << 1,
  kFlagDontFragment = 1 << 2,
  kFlagReqOne = 1 << 3,
  kFlagFastZero = 1 << 4,
};

// Replies.
constexpr uint32_t kSimpleReplyMagic = 0x67446698;
constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
constexpr uint32_t kSimpleReplySize = 16;
constexpr uint32_t kChunkHeaderSize = 20;
constexpr uint16_t kReplyDone = 1 << 0;

enum ChunkType : uint16_t {
  kChunkNone = 0,
  kChunkData = 1,
  kChunkHole = 2,
  kChunkBlockStatus = 5,
  kChunkError = (1 << 15) | 1,
};

// The metadata context base:allocation.
constexpr uint32_t kAllocationContext = 1;  // its id on our connections
constexpr uint32_t kStateHole = 1 << 0;
constexpr uint32_t kStateZero = 1 << 1;

// Errors: the protocol's own numbers, whatever errno is here.
enum Error : uint32_t {
  kOk = 0,
  kEperm = 1,
  kEio = 5,
  kEnomem = 12,
  kEinval = 22,
  kEnospc = 28,
  kEnotsup = 95,
  kEshutdown = 108,
};

// The largest payload of a request or reply. One above it can't be skipped: the connection ends.
constexpr uint32_t kMaxPayload = 32u << 20;

struct Request {
  uint32_t magic;
  uint16_t flags;
  uint16_t command;
  uint64_t handle;
  uint64_t offset;
  uint32_t length;
};

inline uint16_t get16(const uint8_t* at) {
  uint16_t value;
  memcpy(&value, at, sizeof value);
  return be16toh(value);
}
inline uint32_t get32(const uint8_t* at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return be32toh(value);
}
inline uint64_t get64(const uint8_t* at) {
  uint64_t value;
  memcpy(&value, at, sizeof value);
  return be64toh(value);
}

// Each answers the place after what it wrote.
inline uint8_t* put16(uint8_t* at, uint16_t value) {
  value = htobe16(value);
  memcpy(at, &value, sizeof value);
  return at + sizeof value;
}
inline uint8_t* put32(uint8_t* at, uint32_t value) {
  value = htobe32(value);
  memcpy(at, &value, sizeof value);
  return at + sizeof value;
}
inline uint8_t* put64(uint8_t* at, uint64_t value) {
  value = htobe64(value);
  memcpy(at, &value, sizeof value);
  return at + sizeof value;
}

inline Request get_request(const uint8_t* at) {
  return {get32(at), get16(at + 4), get16(at + 6), get64(at + 8), get64(at + 16), get32(at + 24)};
}

}  // namespace blockferry::nbd
