#include "nbd/handshake.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "nbd/protocol.h"

namespace blockferry {

using namespace nbd;

namespace {

using Bytes = std::vector<uint8_t>;
using SteadyClock = std::chrono::steady_clock;

constexpr uint32_t kMaxOption = 64 << 10;  // a client with a longer one is cut off
constexpr char kAllocationName[] = "base:allocation";
constexpr char kAllocationNamespace[] = "base:";
constexpr uint32_t kPreferredBlock = 4096;

void append16(Bytes& bytes, uint16_t value) {
  uint8_t raw[2];
  bytes.insert(bytes.end(), raw, put16(raw, value));
}
void append32(Bytes& bytes, uint32_t value) {
  uint8_t raw[4];
  bytes.insert(bytes.end(), raw, put32(raw, value));
}
void append64(Bytes& bytes, uint64_t value) {
  uint8_t raw[8];
  bytes.insert(bytes.end(), raw, put64(raw, value));
}
void append(Bytes& bytes, const std::string& text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

// Reads an option's fields one after the other; once one is not there, all further ones fail.
class OptionReader {
 public:
  explicit OptionReader(const Bytes& data) : at_(data.data()), left_(data.size()) {}

  bool read16(uint16_t* value) {
    const uint8_t* field = take(2);
    if (field != nullptr) *value = get16(field);
    return field != nullptr;
  }
  bool read32(uint32_t* value) {
    const uint8_t* field = take(4);
    if (field != nullptr) *value = get32(field);
    return field != nullptr;
  }
  // A length of 32 bits, at most kMaxString, then so many bytes.
  bool read_string(std::string* text) {
    uint32_t length = 0;
    if (!read32(&length) || length > kMaxString) return false;
    const uint8_t* field = take(length);
    if (field != nullptr) text->assign(reinterpret_cast<const char*>(field), length);
    return field != nullptr;
  }
  bool at_end() const { return left_ == 0; }

 private:
  const uint8_t* take(size_t length) {
    if (length > left_) {
      left_ = 0;
      return nullptr;
    }
    const uint8_t* field = at_;
    at_ += length;
    left_ -= length;
    return field;
  }

  const uint8_t* at_;
  size_t left_;
};

}  // namespace

// False at the deadline.
bool NbdHandshake::wait(short events) {
  for (;;) {
    auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - SteadyClock::now());
    if (left.count() <= 0) return false;
    pollfd entry{fd_, events, 0};
    int ready = poll(&entry, 1, static_cast<int>(std::min<int64_t>(left.count(), 1 << 30)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

bool NbdHandshake::receive(void* bytes, size_t length) {
  auto* at = static_cast<uint8_t*>(bytes);
  while (length > 0) {
    if (!wait(POLLIN)) return false;
    ssize_t got = recv(fd_, at, length, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return false;
    at += got;
    length -= static_cast<size_t>(got);
  }
  return true;
}

bool NbdHandshake::send(const Bytes& bytes) {
  for (size_t done = 0; done < bytes.size();) {
    if (!wait(POLLOUT)) return false;
    ssize_t put =
        ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (put < 0) return false;
    done += static_cast<size_t>(put);
  }
  return true;
}

HandshakeEnd NbdHandshake::run(NbdSession* session) {
  if (!greet()) return HandshakeEnd::parted;
  uint8_t raw[4];
  if (!receive(raw, sizeof raw)) return HandshakeEnd::parted;
  uint32_t flags = get32(raw);
  if ((flags & ~uint32_t{kFixedNewstyle | kNoZeroes}) != 0) return HandshakeEnd::broken;
  no_zeroes_ = (flags & kNoZeroes) != 0;
  for (;;) {
    switch (read_option()) {
      case Next::option: continue;
      case Next::part: return HandshakeEnd::parted;
      case Next::broken: return HandshakeEnd::broken;
      case Next::transmission: *session = session_; return HandshakeEnd::transmission;
    }
  }
}

bool NbdHandshake::greet() {
  Bytes bytes;
  append64(bytes, kServerMagic);
  append64(bytes, kOptionMagic);
  append16(bytes, kFixedNewstyle | kNoZeroes);
  return send(bytes);
}

NbdHandshake::Next NbdHandshake::read_option() {
  uint8_t raw[16];
  if (!receive(raw, sizeof raw)) return Next::part;
  uint32_t length = get32(raw + 12);
  if (get64(raw) != kOptionMagic || length > kMaxOption) return Next::broken;
  Bytes data(length);
  if (!receive(data.data(), length)) return Next::part;
  return take_option(get32(raw + 8), data);
}

NbdHandshake::Next NbdHandshake::take_option(uint32_t option, const Bytes& data) {
  switch (option) {
    case kOptExportName: return export_name(data);
    case kOptAbort: reply(option, kRepAck); return Next::part;
    case kOptList: return list(data);
    case kOptInfo:
    case kOptGo: return info_or_go(option, data);
    case kOptStructuredReply: return structured_reply(data);
    case kOptListMetaContext:
    case kOptSetMetaContext: return meta_context(option, data);
    case kOptStartTls: return refuse(option, kRepErrUnsupported, "no TLS here");
    default: return refuse(option, kRepErrUnsupported, "unknown option");
  }
}

NbdHandshake::Next NbdHandshake::reply(uint32_t option, uint32_t type, const Bytes& data) {
  Bytes bytes;
  append64(bytes, kOptionReplyMagic);
  append32(bytes, option);
  append32(bytes, type);
  append32(bytes, static_cast<uint32_t>(data.size()));
  bytes.insert(bytes.end(), data.begin(), data.end());
  return send(bytes) ? Next::option : Next::part;
}

NbdHandshake::Next NbdHandshake::refuse(uint32_t option, uint32_t type, const std::string& why) {
  return reply(option, type, Bytes(why.begin(), why.end()));
}

void NbdHandshake::choose(const std::string& name, const NbdExportInfo& entry) {
  chosen_ = true;
  session_.entry = entry;
  session_.allocation_context = context_chosen_ && context_export_ == name;
}

uint16_t NbdHandshake::transmission_flags(const NbdExportInfo& entry) const {
  uint16_t flags = kHasFlags | kSendFlush | kSendCache | kCanMultiConn;
  if (session_.structured_replies) flags |= kSendDontFragment;
  if (entry.read_only) return flags | kReadOnly;
  return flags | kSendFua | kSendTrim | kSendWriteZeroes | kSendFastZero;
}

// The one option that can't be refused: an unknown name ends the connection.
NbdHandshake::Next NbdHandshake::export_name(const Bytes& data) {
  std::string name(data.begin(), data.end());
  auto entry = table_.find_export(name);
  if (!entry) return Next::part;
  choose(name, *entry);
  Bytes bytes;
  append64(bytes, entry->size);
  append16(bytes, transmission_flags(*entry));
  if (!no_zeroes_) bytes.insert(bytes.end(), 124, 0);
  return send(bytes) ? Next::transmission : Next::part;
}

NbdHandshake::Next NbdHandshake::list(const Bytes& data) {
  if (!data.empty()) return refuse(kOptList, kRepErrInvalid, "LIST takes no data");
  for (const auto& entry : table_.exports()) {
    Bytes bytes;
    append32(bytes, static_cast<uint32_t>(entry.name.size()));
    append(bytes, entry.name);
    append(bytes, entry.description);
    if (reply(kOptList, kRepServer, bytes) != Next::option) return Next::part;
  }
  return reply(kOptList, kRepAck);
}

NbdHandshake::Next NbdHandshake::info_or_go(uint32_t option, const Bytes& data) {
  OptionReader reader(data);
  std::string name;
  uint16_t count = 0;
  bool good = reader.read_string(&name) && reader.read16(&count);
  std::vector<uint16_t> wanted;
  for (uint16_t info = 0; good && wanted.size() < count;) {
    good = reader.read16(&info);
    wanted.push_back(info);
  }
  if (!good || !reader.at_end()) return refuse(option, kRepErrInvalid, "malformed option");
  auto entry = table_.find_export(name);
  if (!entry) return refuse(option, kRepErrUnknown, "no export of this name");
  if (!send_infos(option, *entry, wanted)) return Next::part;
  if (option == kOptInfo) return reply(option, kRepAck);
  choose(name, *entry);
  Next next = reply(option, kRepAck);
  return next == Next::option ? Next::transmission : next;
}

bool NbdHandshake::send_infos(uint32_t option, const NbdExportInfo& entry,
                              const std::vector<uint16_t>& wanted) {
  auto wants = [&](uint16_t info) {
    return std::find(wanted.begin(), wanted.end(), info) != wanted.end();
  };
  auto text = [&](uint16_t info, const std::string& words) {
    Bytes bytes;
    append16(bytes, info);
    append(bytes, words);
    return reply(option, kRepInfo, bytes) == Next::option;
  };
  Bytes size;
  append16(size, kInfoExport);
  append64(size, entry.size);
  append16(size, transmission_flags(entry));
  Bytes blocks;
  append16(blocks, kInfoBlockSize);
  append32(blocks, entry.alignment);
  append32(blocks, std::max(kPreferredBlock, entry.alignment));
  append32(blocks, kMaxPayload);
  return reply(option, kRepInfo, size) == Next::option &&
         reply(option, kRepInfo, blocks) == Next::option &&
         (!wants(kInfoName) || text(kInfoName, entry.name)) &&
         (!wants(kInfoDescription) || text(kInfoDescription, entry.description));
}

NbdHandshake::Next NbdHandshake::structured_reply(const Bytes& data) {
  if (!data.empty()) {
    return refuse(kOptStructuredReply, kRepErrInvalid, "STRUCTURED_REPLY takes no data");
  }
  session_.structured_replies = true;
  return reply(kOptStructuredReply, kRepAck);
}

NbdHandshake::Next NbdHandshake::meta_context(uint32_t option, const Bytes& data) {
  bool setting = option == kOptSetMetaContext;
  if (setting) context_chosen_ = false;
  if (!session_.structured_replies) {
    return refuse(option, kRepErrInvalid, "structured replies must come first");
  }
  OptionReader reader(data);
  std::string name;
  uint32_t count = 0;
  bool good = reader.read_string(&name) && reader.read32(&count);
  bool chosen = good && !setting && count == 0;  // an empty list asks for all there are
  for (uint32_t i = 0; good && i < count; i++) {
    std::string query;
    good = reader.read_string(&query);
    if (query == kAllocationName || (!setting && query == kAllocationNamespace)) chosen = true;
  }
  if (!good || !reader.at_end()) return refuse(option, kRepErrInvalid, "malformed option");
  if (!table_.find_export(name)) return refuse(option, kRepErrUnknown, "no export of this name");
  if (chosen) {
    Bytes bytes;
    append32(bytes, setting ? kAllocationContext : 0);
    append(bytes, kAllocationName);
    if (reply(option, kRepMetaContext, bytes) != Next::option) return Next::part;
  }
  if (setting) {
    context_chosen_ = chosen;
    context_export_ = name;
  }
  return reply(option, kRepAck);
}

}  // namespace blockferry
