// JavaScript's listDmStacks(), cleanDmStack(device, owned), markDmMoved(path) and unfenceDmMoved(path):
// what dm taps have left on this host.
#pragma once

#include <napi.h>

namespace blockferry::node {

void install_dm_left(Napi::Env env, Napi::Object exports);

}  // namespace blockferry::node
