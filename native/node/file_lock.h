// lockFile(fd): holds a whole file against other processes and descriptors until it is closed.
#pragma once

#include <napi.h>

namespace blockferry::node {

void install_file_lock(Napi::Env env, Napi::Object exports);

}  // namespace blockferry::node
