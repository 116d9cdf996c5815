#include "wire/wire.h"

#include <xxhash.h>

#include <cstring>

namespace blockferry {

namespace {

constexpr uint32_t kCheckedPart = 40;

template <typename T>
void put(uint8_t* bytes, T value) {
  memcpy(bytes, &value, sizeof value);  // little endian machines only: see the assertion below
}

template <typename T>
T get(const uint8_t* bytes) {
  T value;
  memcpy(&value, bytes, sizeof value);
  return value;
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the wire is little endian");

Status broken(const std::string& what) { return Status::failure(Code::protocol, what); }

Status check_limits(const FrameHeader& header) {
  switch (header.type) {
    case FrameType::hello:
    case FrameType::welcome:
    case FrameType::error:
      if (header.payload > kMaxHello) return broken("a handshake message is too long");
      return {};
    case FrameType::control:
      if (header.payload > kMaxControl) return broken("a control message is too long");
      return {};
    case FrameType::data:
      if (header.payload == 0 || header.payload > kMaxExtent) return broken("bad payload length");
      if (header.length == 0 || header.length > kMaxExtent) return broken("bad extent length");
      if (!(header.flags & kFlagZstd) && header.payload != header.length) {
        return broken("payload and extent differ in length");
      }
      return {};
    case FrameType::zero:
      if (header.payload != 0) return broken("a zero extent with a payload");
      if (header.length == 0 || header.length > kStripe) return broken("bad zero extent length");
      return {};
    case FrameType::machine:
      if (header.payload > kMaxExtent || header.length > kMaxExtent) {
        return broken("a piece of memory is too long");
      }
      if ((header.payload == 0) != (header.length == 0) ||
          (!(header.flags & kFlagZstd) && header.payload != header.length)) {
        return broken("payload and piece of memory differ in length");
      }
      return {};
    case FrameType::hashes:
      if (header.payload != 0 && header.length > kStripe)
        return broken("an inventory of too much at once");
      if (header.payload > (header.length / 4096 + 1) * 8) return broken("too many hashes");
      return {};
    case FrameType::same:
      if (header.payload != 0) return broken("an extent that is there, with a payload");
      if (header.length == 0 || header.length > kStripe) return broken("bad extent length");
      return {};
    case FrameType::mark:
      if (header.payload != 0) return broken("a mark with a payload");
      return {};
  }
  return broken("unknown frame type " + std::to_string(static_cast<int>(header.type)));
}

}  // namespace

void encode_header(const FrameHeader& header, uint8_t* bytes) {
  put<uint32_t>(bytes, kMagic);
  put<uint8_t>(bytes + 4, kWireVersion);
  put<uint8_t>(bytes + 5, static_cast<uint8_t>(header.type));
  put<uint16_t>(bytes + 6, header.flags);
  put<uint32_t>(bytes + 8, header.disk);
  put<uint32_t>(bytes + 12, header.payload);
  put<uint64_t>(bytes + 16, header.offset);
  put<uint64_t>(bytes + 24, header.length);
  put<uint64_t>(bytes + 32, header.check);
  put<uint64_t>(bytes + kCheckedPart, XXH3_64bits(bytes, kCheckedPart));
}

Status decode_header(const uint8_t* bytes, FrameHeader* header) {
  if (get<uint32_t>(bytes) != kMagic) return broken("not a blockferry peer");
  if (bytes[4] != kWireVersion) {
    return Status::failure(Code::version, "the peer speaks wire version " +
                                              std::to_string(bytes[4]) + ", this side " +
                                              std::to_string(kWireVersion));
  }
  if (get<uint64_t>(bytes + kCheckedPart) != XXH3_64bits(bytes, kCheckedPart)) {
    return Status::failure(Code::checksum, "a frame's header does not match its checksum");
  }
  header->type = static_cast<FrameType>(bytes[5]);
  header->flags = get<uint16_t>(bytes + 6);
  header->disk = get<uint32_t>(bytes + 8);
  header->payload = get<uint32_t>(bytes + 12);
  header->offset = get<uint64_t>(bytes + 16);
  header->length = get<uint64_t>(bytes + 24);
  header->check = get<uint64_t>(bytes + 32);
  return check_limits(*header);
}

FrameHeader text_header(FrameType type, const std::string& text) {
  FrameHeader header;
  header.type = type;
  header.payload = static_cast<uint32_t>(text.size());
  header.check = XXH3_64bits(text.data(), text.size());
  return header;
}

Status check_text(const FrameHeader& header, const std::string& text) {
  if (header.check == XXH3_64bits(text.data(), text.size())) return {};
  return Status::failure(Code::checksum, "a message does not match its checksum");
}

}  // namespace blockferry
