#include "session_wrap.h"

#include "errors.h"
#include "tap_wrap.h"
#include "values.h"

namespace blockferry::node {

namespace {

Napi::Value make_verified(Napi::Env env, const VerifiedMark& verified) {
  const std::vector<WrongRange>& wrong = verified.wrong;
  Napi::Object object = make_object(env, {{"mark", verified.number}, {"tookUs", verified.took_us}});
  Napi::Array list = Napi::Array::New(env, wrong.size());
  for (uint32_t i = 0; i < wrong.size(); i++) {
    list.Set(i, make_object(env, {{"disk", wrong[i].disk},
                                  {"first", wrong[i].blocks.first},
                                  {"count", wrong[i].blocks.count}}));
  }
  object.Set("wrong", list);
  return object;
}

ReceiverEvents events_to(const std::shared_ptr<Emitter>& emitter) {
  ReceiverEvents events;
  events.message = [emitter](std::string text, Backlog::Share share) {
    emitter->emit("message", [text, share](Napi::Env env) { return Napi::String::New(env, text); });
  };
  events.durable = [emitter](uint64_t number) {
    emitter->emit("durable", [number](Napi::Env env) {
      return Napi::Number::New(env, static_cast<double>(number));
    });
  };
  events.verified = [emitter](VerifiedMark verified) {
    emitter->emit("verified", [verified = std::move(verified)](Napi::Env env) {
      return make_verified(env, verified);
    });
  };
  events.failed = [emitter](Status status) {
    emitter->emit("failed", [status](Napi::Env env) { return make_error(env, status).Value(); });
  };
  return events;
}

}  // namespace

void SessionWrap::install(Napi::Env env) {
  Loop::of(env)->keep_constructor(
      "Session", DefineClass(env, "Session",
                             {
                                 InstanceMethod<&SessionWrap::id>("id"),
                                 InstanceMethod<&SessionWrap::peer>("peer"),
                                 InstanceMethod<&SessionWrap::start>("start"),
                                 InstanceMethod<&SessionWrap::send>("send"),
                                 InstanceMethod<&SessionWrap::add_disk>("addDisk"),
                                 InstanceMethod<&SessionWrap::accept_streams>("acceptStreams"),
                                 InstanceMethod<&SessionWrap::accept_machine>("acceptMachine"),
                                 InstanceMethod<&SessionWrap::seal>("seal"),
                                 InstanceMethod<&SessionWrap::unseal>("unseal"),
                                 InstanceMethod<&SessionWrap::digest>("digest"),
                                 InstanceMethod<&SessionWrap::missing>("missing"),
                                 InstanceMethod<&SessionWrap::stats>("stats"),
                                 InstanceMethod<&SessionWrap::close>("close"),
                             }));
}

Napi::Value SessionWrap::make(Napi::Env env, std::shared_ptr<ReceiverSession> session,
                              std::weak_ptr<MigrationListener> listener) {
  Parts parts{std::move(session), std::move(listener)};
  return Loop::of(env)->construct("Session", Napi::External<Parts>::New(env, &parts));
}

SessionWrap::SessionWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SessionWrap>(info),
      loop_(Loop::of(info.Env())),
      parts_(*info[0].As<Napi::External<Parts>>().Data()) {
  closer_ = loop_->add_closer([session = parts_.session] { session->close(); });
  loop_->hold();
  Ref();
}

SessionWrap::~SessionWrap() {
  if (emitter_) emitter_->silence();
}

Napi::Value SessionWrap::id(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), parts_.session->id());
}

Napi::Value SessionWrap::peer(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), parts_.session->peer());
}

void SessionWrap::start(const Napi::CallbackInfo& info) {
  emitter_ = std::make_shared<Emitter>(loop_, info[0].As<Napi::Function>());
  parts_.session->start(events_to(emitter_));
}

void SessionWrap::send(const Napi::CallbackInfo& info) {
  throw_unless_ok(info.Env(), parts_.session->send_message(info[0].As<Napi::String>().Utf8Value()));
}

void SessionWrap::add_disk(const Napi::CallbackInfo& info) {
  parts_.session->add_disk(TapWrap::tap_of(info[0]), to_uint(info[1]),
                           static_cast<uint32_t>(to_uint(info[2])),
                           info[3].As<Napi::Boolean>().Value());
}

void SessionWrap::accept_streams(const Napi::CallbackInfo& info) {
  throw_unless_ok(info.Env(),
                  parts_.session->accept_streams(static_cast<unsigned>(to_uint(info[0])),
                                                 info[1].As<Napi::Boolean>().Value()));
}

void SessionWrap::accept_machine(const Napi::CallbackInfo& info) {
  parts_.session->accept_machine(info[0].As<Napi::String>().Utf8Value());
}

Napi::Value SessionWrap::seal(const Napi::CallbackInfo&) {
  auto changed = std::make_shared<std::vector<uint32_t>>();
  return loop_->run([=, session = parts_.session] { return session->seal(changed.get()); },
                    [=](Napi::Env env) {
                      Napi::Array disks = Napi::Array::New(env, changed->size());
                      for (uint32_t i = 0; i < changed->size(); i++) disks.Set(i, changed->at(i));
                      return disks;
                    });
}

void SessionWrap::unseal(const Napi::CallbackInfo&) { parts_.session->unseal(); }

Napi::Value SessionWrap::digest(const Napi::CallbackInfo& info) {
  return make_digest(info.Env(), parts_.session->digest(static_cast<uint32_t>(to_uint(info[0]))));
}

Napi::Value SessionWrap::missing(const Napi::CallbackInfo& info) {
  uint64_t blocks = parts_.session->missing(static_cast<uint32_t>(to_uint(info[0])));
  return Napi::Number::New(info.Env(), static_cast<double>(blocks));
}

Napi::Value SessionWrap::stats(const Napi::CallbackInfo& info) {
  ReceiverStats stats = parts_.session->stats();
  return make_object(info.Env(), {{"wireBytes", stats.wire_bytes},
                                  {"contentBytes", stats.content_bytes},
                                  {"zeroBytes", stats.zero_bytes},
                                  {"unverifiedBytes", stats.unverified_bytes},
                                  {"missingBytes", stats.missing_bytes}});
}

Napi::Value SessionWrap::close(const Napi::CallbackInfo&) {
  if (open_) {
    open_ = false;
    if (emitter_) emitter_->silence();
    loop_->remove_closer(closer_);
    loop_->release();
    Unref();
  }
  return loop_->finish([parts = parts_] {
    parts.session->close();
    if (auto listener = parts.listener.lock()) listener->forget(parts.session->id());
  });
}

}  // namespace blockferry::node
