#pragma once

#include <napi.h>

#include <memory>

#include "disk/open_watch.h"
#include "tap/tap.h"

namespace blockferry::node {

// JavaScript's Tap. openTap(options) makes it on a thread of ours.
class TapWrap : public Napi::ObjectWrap<TapWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit TapWrap(const Napi::CallbackInfo& info);
  // The core's tap behind a JavaScript Tap; throws when it was closed.
  static std::shared_ptr<Tap> tap_of(const Napi::Value& value);

 private:
  static Napi::Value open_tap(const Napi::CallbackInfo& info);
  static Napi::Value check_bpf(const Napi::CallbackInfo& info);
  static Napi::Value check_dm(const Napi::CallbackInfo& info);
  static Napi::Value check_dm_delay(const Napi::CallbackInfo& info);

  Tap& tap(const Napi::CallbackInfo& info);
  DirtyMap& map(const Napi::CallbackInfo& info);

  Napi::Value describe(const Napi::CallbackInfo& info);
  Napi::Value state(const Napi::CallbackInfo& info);
  void track(const Napi::CallbackInfo& info);
  void untrack(const Napi::CallbackInfo& info);
  void mark(const Napi::CallbackInfo& info);
  Napi::Value claim(const Napi::CallbackInfo& info);
  Napi::Value remembered(const Napi::CallbackInfo& info);
  Napi::Value dirty(const Napi::CallbackInfo& info);
  void set_throttle(const Napi::CallbackInfo& info);
  void begin_round(const Napi::CallbackInfo& info);
  void hold(const Napi::CallbackInfo& info);
  void refuse(const Napi::CallbackInfo& info);
  void open(const Napi::CallbackInfo& info);
  Napi::Value drain(const Napi::CallbackInfo& info);
  Napi::Value may_lose_disk(const Napi::CallbackInfo& info);
  Napi::Value delay_writes(const Napi::CallbackInfo& info);
  void check_watch(const Napi::CallbackInfo& info);
  Napi::Value begin_again(const Napi::CallbackInfo& info);
  Napi::Value witness(const Napi::CallbackInfo& info);
  void set_size(const Napi::CallbackInfo& info);
  Napi::Value allocate(const Napi::CallbackInfo& info);
  Napi::Value flush(const Napi::CallbackInfo& info);
  Napi::Value watch_opens(const Napi::CallbackInfo& info);
  void unwatch_opens(const Napi::CallbackInfo& info);
  Napi::Value opens(const Napi::CallbackInfo& info);
  Napi::Value check_no_writer(const Napi::CallbackInfo& info);
  Napi::Value recent(const Napi::CallbackInfo& info);
  Napi::Value hashes(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Tap> tap_;
  std::unique_ptr<OpenWatch> opens_;
};

}  // namespace blockferry::node
