#pragma once

#include <napi.h>

#include <memory>

#include "emitter.h"
#include "send/sender.h"

namespace blockferry::node {

// JavaScript's Sender(options, listener). Events: message(text), bulkDone(), marked(number),
// failed(error).
class SenderWrap : public Napi::ObjectWrap<SenderWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit SenderWrap(const Napi::CallbackInfo& info);
  ~SenderWrap() override;

 private:
  Napi::Value connect(const Napi::CallbackInfo& info);
  void send(const Napi::CallbackInfo& info);
  void add_disk(const Napi::CallbackInfo& info);
  void separate(const Napi::CallbackInfo& info);
  Napi::Value open_inventory(const Napi::CallbackInfo& info);
  Napi::Value open_streams(const Napi::CallbackInfo& info);
  void start(const Napi::CallbackInfo& info);
  Napi::Value open_machine(const Napi::CallbackInfo& info);
  void set_machine_limits(const Napi::CallbackInfo& info);
  void set_bandwidth(const Napi::CallbackInfo& info);
  void share_bandwidth(const Napi::CallbackInfo& info);
  void set_max_extent(const Napi::CallbackInfo& info);
  void set_max_in_flight(const Napi::CallbackInfo& info);
  void set_compression(const Napi::CallbackInfo& info);
  void set_defer(const Napi::CallbackInfo& info);
  void pause(const Napi::CallbackInfo& info);
  void mark(const Napi::CallbackInfo& info);
  void durable(const Napi::CallbackInfo& info);
  void finish(const Napi::CallbackInfo& info);
  void unfinish(const Napi::CallbackInfo& info);
  void mark_again(const Napi::CallbackInfo& info);
  Napi::Value digest(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Loop> loop_;
  std::shared_ptr<Emitter> emitter_;
  std::shared_ptr<Sender> sender_;
  int closer_ = 0;
  bool open_ = true;
};

}  // namespace blockferry::node
