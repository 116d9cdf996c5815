// JavaScript's listDmStacks() and cleanDmStack(device, owned): what dm taps have left on this host.
#pragma once

#include <napi.h>

namespace blockferry::node {

void install_dm_left(Napi::Env env, Napi::Object exports);

}  // namespace blockferry::node
