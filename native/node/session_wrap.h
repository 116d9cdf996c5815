#pragma once

#include <napi.h>

#include <memory>

#include "emitter.h"
#include "receive/listener.h"

namespace blockferry::node {

// JavaScript's Session. Events: message(text), durable(number), verified({ mark, wrong:
// [{ disk, first, count }], tookUs }), failed(error).
class SessionWrap : public Napi::ObjectWrap<SessionWrap> {
 public:
  static void install(Napi::Env env);
  static Napi::Value make(Napi::Env env, std::shared_ptr<ReceiverSession> session,
                          std::weak_ptr<MigrationListener> listener);
  explicit SessionWrap(const Napi::CallbackInfo& info);
  ~SessionWrap() override;

 private:
  struct Parts {
    std::shared_ptr<ReceiverSession> session;
    std::weak_ptr<MigrationListener> listener;
  };
  Napi::Value id(const Napi::CallbackInfo& info);
  Napi::Value peer(const Napi::CallbackInfo& info);
  void start(const Napi::CallbackInfo& info);
  void send(const Napi::CallbackInfo& info);
  void add_disk(const Napi::CallbackInfo& info);
  void accept_streams(const Napi::CallbackInfo& info);
  void accept_machine(const Napi::CallbackInfo& info);
  Napi::Value seal(const Napi::CallbackInfo& info);
  void unseal(const Napi::CallbackInfo& info);
  Napi::Value digest(const Napi::CallbackInfo& info);
  Napi::Value missing(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Loop> loop_;
  std::shared_ptr<Emitter> emitter_;
  Parts parts_;
  int closer_ = 0;
  bool open_ = true;
};

}  // namespace blockferry::node
