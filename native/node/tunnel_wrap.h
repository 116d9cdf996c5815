#pragma once

#include <napi.h>

#include <memory>

#include "emitter.h"
#include "tunnel/tunnel.h"

namespace blockferry::node {

// JavaScript's Tunnel(options, listener). Events: up(null), down(Error). It does not keep the
// process alive.
class TunnelWrap : public Napi::ObjectWrap<TunnelWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit TunnelWrap(const Napi::CallbackInfo& info);
  ~TunnelWrap() override;

 private:
  Napi::Value connected(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Loop> loop_;
  std::shared_ptr<Emitter> emitter_;
  std::shared_ptr<Tunnel> tunnel_;
  int closer_ = 0;
  bool open_ = true;
};

}  // namespace blockferry::node
