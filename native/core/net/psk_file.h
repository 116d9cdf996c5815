// A file of pre-shared keys as GnuTLS's psktool and nbdkit have it: a line for each, IDENTITY:KEY,
// the key in hexadecimal; an identity that begins with # is in hexadecimal, too (psktool writes one
// with a colon in it so). Empty lines don't count.
#pragma once

#include <map>
#include <string>

#include "base/status.h"

namespace blockferry {

using PskKeys = std::map<std::string, std::string>;  // by identity, the keys in hexadecimal

// Reads it like a secret (secret_file.h). Code::invalid for a line that is none, a key of less than
// 128 bits, an identity of more than 128 bytes or one that comes twice, and for no key at all; the
// message names the line, never what is in it.
Status read_psk_file(const std::string& path, PskKeys* keys);

}  // namespace blockferry
