#include "pinned_taps.h"

#include "errors.h"
#include "tap/bpf/pins.h"

namespace blockferry::node {

static Napi::Value pinned_taps(const Napi::CallbackInfo& info) {
  Napi::Array taps = Napi::Array::New(info.Env());
  for (const auto& folder : BpfPins::list()) {
    Napi::Object tap = Napi::Object::New(info.Env());
    tap.Set("id", folder.name);
    tap.Set("inUse", folder.in_use);
    taps.Set(taps.Length(), tap);
  }
  return taps;
}

static void remove_pinned_tap(const Napi::CallbackInfo& info) {
  throw_unless_ok(info.Env(), BpfPins::remove(info[0].As<Napi::String>().Utf8Value()));
}

void install_pinned_taps(Napi::Env env, Napi::Object exports) {
  exports.Set("pinnedTaps", Napi::Function::New(env, pinned_taps));
  exports.Set("removePinnedTap", Napi::Function::New(env, remove_pinned_tap));
}

}  // namespace blockferry::node
