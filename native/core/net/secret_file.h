// Files with keys, which nobody but their owner may read.
#pragma once

#include <string>

#include "base/status.h"

namespace blockferry {

// A whole text file that holds no secret, 1 MiB at most. `what` names it in messages.
Status read_text_file(const std::string& what, const std::string& path, std::string* text);

// The same for one that does: Code::no_permission when its group or others have any right to it.
// The text's memory is to be erased with erase_secret().
Status read_secret_file(const std::string& what, const std::string& path, std::string* text);

// Overwrites it in a way that the compiler does not leave out.
void erase_secret(std::string* text);

}  // namespace blockferry
