#include "tunnel_wrap.h"

#include "errors.h"
#include "tls_wrap.h"
#include "values.h"

namespace blockferry::node {

namespace {

TunnelOptions read_options(const Napi::Object& object) {
  TunnelOptions options;
  options.address.local = string_or(object, "local", "");
  options.address.remote = string_or(object, "remote", "");
  options.address.port = static_cast<uint16_t>(uint_or(object, "port", 0));
  options.listens = bool_or(object, "listens", false);
  options.number = static_cast<uint32_t>(uint_or(object, "number", 0));
  options.mtu = static_cast<uint32_t>(uint_or(object, "mtu", options.mtu));
  options.tls = TlsWrap::credentials_of(object.Get("tls"));
  return options;
}

}  // namespace

void TunnelWrap::install(Napi::Env env, Napi::Object exports) {
  exports.Set("Tunnel", DefineClass(env, "Tunnel",
                                    {
                                        InstanceMethod<&TunnelWrap::connected>("connected"),
                                        InstanceMethod<&TunnelWrap::close>("close"),
                                    }));
}

TunnelWrap::TunnelWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TunnelWrap>(info), loop_(Loop::of(info.Env())) {
  Napi::Object object = info[0].As<Napi::Object>();
  emitter_ = std::make_shared<Emitter>(loop_, info[1].As<Napi::Function>());
  auto device = std::make_unique<TunDevice>();
  throw_unless_ok(info.Env(), device->open(string_or(object, "device", "")));
  tunnel_ = std::make_shared<Tunnel>(
      read_options(object), std::move(device), [emitter = emitter_](bool up, const Status& why) {
        emitter->emit(up ? "up" : "down", [why](Napi::Env env) -> Napi::Value {
          return why.ok() ? env.Null() : make_error(env, why).Value();
        });
      });
  throw_unless_ok(info.Env(), tunnel_->start());
  closer_ = loop_->add_closer([tunnel = tunnel_] { tunnel->close(); });
  Ref();
}

TunnelWrap::~TunnelWrap() { emitter_->silence(); }

Napi::Value TunnelWrap::connected(const Napi::CallbackInfo& info) {
  auto timeout_ms = static_cast<uint32_t>(to_uint(info[0]));
  return loop_->run([=, tunnel = tunnel_] { return tunnel->wait_connected(timeout_ms); });
}

Napi::Value TunnelWrap::close(const Napi::CallbackInfo&) {
  if (open_) {
    open_ = false;
    emitter_->silence();
    loop_->remove_closer(closer_);
    Unref();
  }
  return loop_->finish([tunnel = tunnel_] { tunnel->close(); });
}

}  // namespace blockferry::node
