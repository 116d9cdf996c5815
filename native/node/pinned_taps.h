// pinnedTaps(), removePinnedTap(id): what bpf taps with a map file have in the kernel.
#pragma once

#include <napi.h>

namespace blockferry::node {

void install_pinned_taps(Napi::Env env, Napi::Object exports);

}  // namespace blockferry::node
