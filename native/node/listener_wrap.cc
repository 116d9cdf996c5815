#include "listener_wrap.h"

#include "errors.h"
#include "session_wrap.h"
#include "tls_wrap.h"
#include "values.h"

namespace blockferry::node {

namespace {

MigrationListenerOptions read_options(const Napi::Object& object) {
  MigrationListenerOptions options;
  auto number = [&](const char* key, uint32_t fallback) {
    return static_cast<uint32_t>(uint_or(object, key, fallback));
  };
  options.max_sessions = number("maxSessions", options.max_sessions);
  options.max_greeting = number("maxGreeting", options.max_greeting);
  options.greeting_timeout_ms = number("greetingTimeoutMs", options.greeting_timeout_ms);
  options.link_timeout_ms = number("linkTimeoutMs", options.link_timeout_ms);
  options.trust = TlsWrap::trust_of(object.Get("tls"));
  return options;
}

// However many connections are refused, one event of them waits at most.
class Refusals : public std::enable_shared_from_this<Refusals> {
 public:
  explicit Refusals(std::shared_ptr<Emitter> emitter) : emitter_(std::move(emitter)) {}

  void note(Refusal refusal) {
    {
      std::lock_guard lock(mutex_);
      last_ = std::move(refusal);
      if (count_++ > 0) return;
    }
    try {
      emitter_->emit("refused",
                     [self = shared_from_this()](Napi::Env env) { return self->take(env); });
    } catch (const std::bad_alloc&) {  // the next one is told of
      std::lock_guard lock(mutex_);
      count_ = 0;
    }
  }

 private:
  Napi::Value take(Napi::Env env) {
    std::lock_guard lock(mutex_);
    Napi::Object object = make_object(env, {{"port", last_.peer.port}, {"count", count_}});
    object.Set("host", last_.peer.host);
    object.Set("error", make_error(env, last_.why).Value());
    count_ = 0;
    return object;
  }

  std::shared_ptr<Emitter> emitter_;
  std::mutex mutex_;  // what follows
  Refusal last_;
  uint64_t count_ = 0;
};

}  // namespace

void ListenerWrap::install(Napi::Env env, Napi::Object exports) {
  exports.Set("MigrationListener", DefineClass(env, "MigrationListener",
                                               {
                                                   InstanceMethod<&ListenerWrap::listen>("listen"),
                                                   InstanceMethod<&ListenerWrap::close>("close"),
                                               }));
}

ListenerWrap::ListenerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<ListenerWrap>(info), loop_(Loop::of(info.Env())) {
  emitter_ = std::make_shared<Emitter>(loop_, info[1].As<Napi::Function>());
  // The session outlives the listener's list in the JavaScript object; it leaves the list when
  // it is closed.
  auto place = std::make_shared<std::weak_ptr<MigrationListener>>();
  listener_ = std::make_shared<MigrationListener>(
      read_options(info[0].As<Napi::Object>()),
      [emitter = emitter_, place](std::shared_ptr<ReceiverSession> session) {
        emitter->emit("session", [session, place](Napi::Env env) {
          return SessionWrap::make(env, session, *place);
        });
      },
      [refusals = std::make_shared<Refusals>(emitter_)](Refusal refusal) {
        refusals->note(std::move(refusal));
      });
  *place = listener_;
  closer_ = loop_->add_closer([listener = listener_] { listener->close(); });
  loop_->hold();
  Ref();
}

ListenerWrap::~ListenerWrap() { emitter_->silence(); }

Napi::Value ListenerWrap::listen(const Napi::CallbackInfo& info) {
  std::string host = info[0].As<Napi::String>().Utf8Value();
  auto port = static_cast<uint16_t>(to_uint(info[1]));
  return loop_->run([=, listener = listener_] { return listener->listen(host, port); },
                    [listener = listener_](Napi::Env env) -> Napi::Value {
                      Napi::Object bound = make_object(env, {{"port", listener->bound().port}});
                      bound.Set("host", listener->bound().host);
                      return bound;
                    });
}

Napi::Value ListenerWrap::close(const Napi::CallbackInfo&) {
  if (open_) {
    open_ = false;
    emitter_->silence();
    loop_->remove_closer(closer_);
    loop_->release();
    Unref();
  }
  return loop_->finish([listener = listener_] { listener->close(); });
}

}  // namespace blockferry::node
