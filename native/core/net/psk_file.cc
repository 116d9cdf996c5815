#include "net/psk_file.h"

#include <sstream>

#include "net/secret_file.h"

namespace blockferry {

namespace {

constexpr size_t kMaxIdentity = 128;  // bytes
constexpr size_t kLeastKey = 32;      // hexadecimal digits
constexpr size_t kMaxKey = 128;

bool is_hex(const std::string& text) {
  return text.size() % 2 == 0 && text.find_first_not_of("0123456789abcdefABCDEF") == text.npos;
}

bool is_key(const std::string& text) {
  return is_hex(text) && text.size() >= kLeastKey && text.size() <= kMaxKey;
}

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t at = 0; at < hex.size(); at += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16));
  }
  return bytes;
}

// Null, or what is wrong with it.
const char* take_line(const std::string& line, PskKeys* keys) {
  size_t colon = line.find(':');
  if (colon == std::string::npos || colon == 0) return "is no IDENTITY:KEY";
  std::string identity = line.substr(0, colon);
  if (identity[0] == '#') {
    if (!is_hex(identity.substr(1))) return "has an identity with # that is not in hexadecimal";
    identity = from_hex(identity.substr(1));
  }
  if (identity.empty() || identity.find('\0') != std::string::npos) return "has no identity";
  if (identity.size() > kMaxIdentity) return "has an identity of more than 128 bytes";
  if (!is_key(line.substr(colon + 1))) return "has no key of 32 to 128 hexadecimal digits";
  if (!keys->emplace(identity, line.substr(colon + 1)).second) {
    return "has an identity that was there before";
  }
  return nullptr;
}

}  // namespace

Status read_psk_file(const std::string& path, PskKeys* keys) {
  std::string text;
  Status status = read_secret_file("tls.psk.keyFile", path, &text);
  std::istringstream lines(text);
  std::string line;
  for (unsigned number = 1; status.ok() && std::getline(lines, line); number++) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty()) continue;
    const char* wrong = take_line(line, keys);
    if (wrong == nullptr) continue;
    status = Status::failure(Code::invalid, "tls.psk.keyFile: line " + std::to_string(number) +
                                                " of " + path + " " + wrong);
  }
  erase_secret(&text);
  if (status.ok() && keys->empty()) {
    status = Status::failure(Code::invalid, "tls.psk.keyFile: there is no key in " + path);
  }
  return status;
}

}  // namespace blockferry
