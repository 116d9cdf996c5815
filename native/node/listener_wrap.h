#pragma once

#include <napi.h>

#include <memory>

#include "emitter.h"
#include "receive/listener.h"

namespace blockferry::node {

// JavaScript's MigrationListener(options, listener). Events: session(Session),
// refused({ host, port, error, count }): so many connections since the last event; of the last.
class ListenerWrap : public Napi::ObjectWrap<ListenerWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit ListenerWrap(const Napi::CallbackInfo& info);
  ~ListenerWrap() override;

 private:
  Napi::Value listen(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Loop> loop_;
  std::shared_ptr<Emitter> emitter_;
  std::shared_ptr<MigrationListener> listener_;
  int closer_ = 0;
  bool open_ = true;
};

}  // namespace blockferry::node
