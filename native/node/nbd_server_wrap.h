#pragma once

#include <napi.h>

#include <memory>

#include "loop.h"
#include "nbd/server.h"

namespace blockferry::node {

// JavaScript's NbdServer(options).
class NbdServerWrap : public Napi::ObjectWrap<NbdServerWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit NbdServerWrap(const Napi::CallbackInfo& info);

 private:
  Napi::Value listen(const Napi::CallbackInfo& info);
  void add_export(const Napi::CallbackInfo& info);
  Napi::Value remove_export(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Loop> loop_;
  std::shared_ptr<NbdServer> server_;
  int closer_ = 0;
  bool open_ = true;
};

}  // namespace blockferry::node
