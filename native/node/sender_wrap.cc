#include "sender_wrap.h"

#include "bandwidth_wrap.h"
#include "errors.h"
#include "tap_wrap.h"
#include "tls_wrap.h"
#include "values.h"

namespace blockferry::node {

namespace {

SenderEvents events_to(const std::shared_ptr<Emitter>& emitter) {
  SenderEvents events;
  events.message = [emitter](std::string text, Backlog::Share share) {
    emitter->emit("message", [text, share](Napi::Env env) { return Napi::String::New(env, text); });
  };
  events.bulk_done = [emitter] {
    emitter->emit("bulkDone", [](Napi::Env env) { return env.Undefined(); });
  };
  events.overwrites = [emitter](uint32_t disk, uint64_t offset) {
    emitter->emit("overwrites", [=](Napi::Env env) -> Napi::Value {
      return make_object(env, {{"disk", disk}, {"offset", offset}});
    });
  };
  events.marked = [emitter](uint64_t number) {
    emitter->emit("marked", [number](Napi::Env env) {
      return Napi::Number::New(env, static_cast<double>(number));
    });
  };
  events.failed = [emitter](Status status) {
    emitter->emit("failed", [status](Napi::Env env) { return make_error(env, status).Value(); });
  };
  return events;
}

}  // namespace

void SenderWrap::install(Napi::Env env, Napi::Object exports) {
  exports.Set("Sender",
              DefineClass(env, "Sender",
                          {
                              InstanceMethod<&SenderWrap::connect>("connect"),
                              InstanceMethod<&SenderWrap::send>("send"),
                              InstanceMethod<&SenderWrap::add_disk>("addDisk"),
                              InstanceMethod<&SenderWrap::separate>("separate"),
                              InstanceMethod<&SenderWrap::open_inventory>("openInventory"),
                              InstanceMethod<&SenderWrap::open_streams>("openStreams"),
                              InstanceMethod<&SenderWrap::start>("start"),
                              InstanceMethod<&SenderWrap::open_machine>("openMachine"),
                              InstanceMethod<&SenderWrap::set_machine_limits>("setMachineLimits"),
                              InstanceMethod<&SenderWrap::set_bandwidth>("setBandwidth"),
                              InstanceMethod<&SenderWrap::share_bandwidth>("shareBandwidth"),
                              InstanceMethod<&SenderWrap::set_max_extent>("setMaxExtent"),
                              InstanceMethod<&SenderWrap::set_max_in_flight>("setMaxInFlight"),
                              InstanceMethod<&SenderWrap::set_compression>("setCompression"),
                              InstanceMethod<&SenderWrap::set_defer>("setDefer"),
                              InstanceMethod<&SenderWrap::pause>("pause"),
                              InstanceMethod<&SenderWrap::mark>("mark"),
                              InstanceMethod<&SenderWrap::durable>("durable"),
                              InstanceMethod<&SenderWrap::finish>("finish"),
                              InstanceMethod<&SenderWrap::unfinish>("unfinish"),
                              InstanceMethod<&SenderWrap::mark_again>("markAgain"),
                              InstanceMethod<&SenderWrap::digest>("digest"),
                              InstanceMethod<&SenderWrap::stats>("stats"),
                              InstanceMethod<&SenderWrap::close>("close"),
                          }));
}

SenderWrap::SenderWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SenderWrap>(info), loop_(Loop::of(info.Env())) {
  Napi::Object options = info[0].As<Napi::Object>();
  auto link_timeout = static_cast<uint32_t>(uint_or(options, "linkTimeoutMs", 20'000));
  Trust trust = TlsWrap::trust_of(options.Get("tls"));
  emitter_ = std::make_shared<Emitter>(loop_, info[1].As<Napi::Function>());
  sender_ = std::make_shared<Sender>(events_to(emitter_), link_timeout, std::move(trust));
  closer_ = loop_->add_closer([sender = sender_] { sender->close(); });
  loop_->hold();
  Ref();
}

SenderWrap::~SenderWrap() { emitter_->silence(); }

Napi::Value SenderWrap::connect(const Napi::CallbackInfo& info) {
  std::string host = info[0].As<Napi::String>().Utf8Value();
  auto port = static_cast<uint16_t>(to_uint(info[1]));
  auto timeout = static_cast<uint32_t>(to_uint(info[2]));
  return loop_->run([=, sender = sender_] { return sender->connect(host, port, timeout); });
}

void SenderWrap::send(const Napi::CallbackInfo& info) {
  throw_unless_ok(info.Env(), sender_->send_message(info[0].As<Napi::String>().Utf8Value()));
}

void SenderWrap::add_disk(const Napi::CallbackInfo& info) {
  Napi::Object known = info[1].As<Napi::Object>();
  PeerDisk peer{bool_or(known, "blank", false), bool_or(known, "inventory", false),
                bool_or(known, "separate", false)};
  sender_->add_disk(TapWrap::tap_of(info[0]), peer);
}

void SenderWrap::separate(const Napi::CallbackInfo& info) {
  sender_->separate(static_cast<uint32_t>(to_uint(info[0])));
}

Napi::Value SenderWrap::open_inventory(const Napi::CallbackInfo&) {
  return loop_->run([sender = sender_] { return sender->open_inventory(); });
}

Napi::Value SenderWrap::open_streams(const Napi::CallbackInfo& info) {
  auto count = static_cast<unsigned>(to_uint(info[0]));
  return loop_->run([=, sender = sender_] { return sender->open_streams(count); });
}

void SenderWrap::start(const Napi::CallbackInfo&) { sender_->start(); }

Napi::Value SenderWrap::open_machine(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  return loop_->run([=, sender = sender_] { return sender->open_machine(path); });
}

void SenderWrap::set_machine_limits(const Napi::CallbackInfo& info) {
  sender_->set_machine_limits(to_uint(info[0]), info[1].As<Napi::Number>().Int32Value());
}

void SenderWrap::set_bandwidth(const Napi::CallbackInfo& info) {
  sender_->set_bandwidth(info[0].As<Napi::Number>().DoubleValue());
}

void SenderWrap::share_bandwidth(const Napi::CallbackInfo& info) {
  sender_->share_bandwidth(BandwidthWrap::pacer_of(info[0]));
}

void SenderWrap::set_max_extent(const Napi::CallbackInfo& info) {
  sender_->set_max_extent(static_cast<uint32_t>(to_uint(info[0])));
}

void SenderWrap::set_max_in_flight(const Napi::CallbackInfo& info) {
  sender_->set_max_in_flight(to_uint(info[0]));
}

void SenderWrap::set_compression(const Napi::CallbackInfo& info) {
  sender_->set_compression(info[0].As<Napi::Number>().Int32Value());
}

void SenderWrap::set_defer(const Napi::CallbackInfo& info) {
  sender_->set_defer(static_cast<uint32_t>(to_uint(info[0])));
}

void SenderWrap::pause(const Napi::CallbackInfo& info) {
  sender_->pause(info[0].As<Napi::Boolean>().Value());
}

void SenderWrap::mark(const Napi::CallbackInfo& info) { sender_->mark(to_uint(info[0])); }
void SenderWrap::durable(const Napi::CallbackInfo& info) { sender_->durable(to_uint(info[0])); }
void SenderWrap::finish(const Napi::CallbackInfo& info) { sender_->finish(to_uint(info[0])); }
void SenderWrap::unfinish(const Napi::CallbackInfo&) { sender_->unfinish(); }

void SenderWrap::mark_again(const Napi::CallbackInfo& info) {
  BlockRange range{to_uint(info[1]), to_uint(info[2])};
  throw_unless_ok(info.Env(), sender_->mark_again(static_cast<uint32_t>(to_uint(info[0])), range));
}

Napi::Value SenderWrap::digest(const Napi::CallbackInfo& info) {
  return make_digest(info.Env(), sender_->digest(static_cast<uint32_t>(to_uint(info[0]))));
}

Napi::Value SenderWrap::stats(const Napi::CallbackInfo& info) {
  SenderStats stats = sender_->stats();
  Napi::Object object = make_object(info.Env(), {{"acknowledgedBytes", stats.acknowledged_bytes},
                                                 {"inFlightBytes", stats.in_flight_bytes},
                                                 {"passes", stats.passes},
                                                 {"idleUs", stats.idle_us},
                                                 {"roundTripUs", stats.round_trip_us}});
  Napi::Array disks = Napi::Array::New(info.Env(), stats.disks.size());
  for (uint32_t i = 0; i < stats.disks.size(); i++) {
    const SentDiskStats& disk = stats.disks[i];
    disks.Set(i, make_object(info.Env(), {{"dirtyBytes", disk.dirty_bytes},
                                          {"pendingBytes", disk.pending_bytes},
                                          {"markedBytes", disk.marked_bytes},
                                          {"contentBytes", disk.content_bytes},
                                          {"zeroBytes", disk.zero_bytes},
                                          {"sameBytes", disk.same_bytes},
                                          {"wireBytes", disk.wire_bytes}}));
  }
  object.Set("disks", disks);
  object.Set("machine",
             make_object(info.Env(), {{"contentBytes", stats.machine.content_bytes},
                                      {"wireBytes", stats.machine.wire_bytes},
                                      {"acknowledgedBytes", stats.machine.acknowledged_bytes},
                                      {"inFlightBytes", stats.machine.in_flight_bytes},
                                      {"connections", stats.machine.connections}}));
  return object;
}

// Joins the threads off the JavaScript thread; events that are already posted are dropped.
Napi::Value SenderWrap::close(const Napi::CallbackInfo&) {
  if (open_) {
    open_ = false;
    emitter_->silence();
    loop_->remove_closer(closer_);
    loop_->release();
    Unref();
  }
  return loop_->finish([sender = sender_] { sender->close(); });
}

}  // namespace blockferry::node
