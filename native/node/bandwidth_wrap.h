// A bandwidth cap that several migrations share.
#pragma once

#include <napi.h>

#include <memory>

#include "net/shared_pacer.h"

namespace blockferry::node {

class BandwidthWrap : public Napi::ObjectWrap<BandwidthWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit BandwidthWrap(const Napi::CallbackInfo& info);
  static std::shared_ptr<SharedPacer> pacer_of(const Napi::Value& value);

 private:
  void set(const Napi::CallbackInfo& info);

  std::shared_ptr<SharedPacer> pacer_ = std::make_shared<SharedPacer>();
};

}  // namespace blockferry::node
