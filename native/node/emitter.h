// Carries an object's events to its JavaScript listener: listener(name, value).
#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <string>

#include "loop.h"

namespace blockferry::node {

class Emitter : public std::enable_shared_from_this<Emitter> {
 public:
  using MakeValue = std::function<Napi::Value(Napi::Env)>;

  Emitter(std::shared_ptr<Loop> loop, Napi::Function listener)
      : loop_(std::move(loop)), listener_(Napi::Persistent(listener)) {}

  // From any thread; `make` runs on the JavaScript thread.
  void emit(const char* name, MakeValue make);
  // On the JavaScript thread: nothing is delivered after this.
  void silence() { listener_.Reset(); }

 private:
  std::shared_ptr<Loop> loop_;
  Napi::FunctionReference listener_;
};

}  // namespace blockferry::node
