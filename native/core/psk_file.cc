#include "psk_file.h"

#include <cctype>
#include <sstream>

#include "secret_file.h"

namespace blockferry {

namespace {

constexpr size_t kMaxIdentity = 128;  // bytes
constexpr size_t kLeastKey = 32;      // hexadecimal digits
constexpr size_t kMaxKey = 128;

bool is_key(const std::string& text) {
  if (text.size() % 2 != 0 || text.size() < kLeastKey || text.size() > kMaxKey) return false;
  for (unsigned char digit : text) {
    if (!isxdigit(digit)) return false;
  }
  return true;
}

// Null, or what is wrong with it.
const char* take_line(const std::string& line, PskKeys* keys) {
  size_t colon = line.rfind(':');
  if (colon == std::string::npos || colon == 0) return "is no IDENTITY:KEY";
  if (colon > kMaxIdentity) return "has an identity of more than 128 bytes";
  if (!is_key(line.substr(colon + 1))) return "has no key of 32 to 128 hexadecimal digits";
  if (!keys->emplace(line.substr(0, colon), line.substr(colon + 1)).second) {
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
    if (line.empty() || line[0] == '#') continue;
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
