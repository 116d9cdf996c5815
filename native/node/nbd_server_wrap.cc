#include "nbd_server_wrap.h"

#include "errors.h"
#include "tap_wrap.h"
#include "values.h"

namespace blockferry::node {

void NbdServerWrap::install(Napi::Env env, Napi::Object exports) {
  exports.Set("NbdServer",
              DefineClass(env, "NbdServer",
                          {
                              InstanceMethod<&NbdServerWrap::listen>("listen"),
                              InstanceMethod<&NbdServerWrap::add_export>("addExport"),
                              InstanceMethod<&NbdServerWrap::remove_export>("removeExport"),
                              InstanceMethod<&NbdServerWrap::stats>("stats"),
                              InstanceMethod<&NbdServerWrap::close>("close"),
                          }));
}

NbdServerWrap::NbdServerWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<NbdServerWrap>(info), loop_(Loop::of(info.Env())) {
  Napi::Object object = info[0].As<Napi::Object>();
  NbdServerOptions options;
  options.max_connections =
      static_cast<uint32_t>(uint_or(object, "maxConnections", options.max_connections));
  options.handshake_timeout_ms =
      static_cast<uint32_t>(uint_or(object, "handshakeTimeoutMs", options.handshake_timeout_ms));
  options.same_user = bool_or(object, "sameUser", options.same_user);
  server_ = std::make_shared<NbdServer>(options);
  closer_ = loop_->add_closer([server = server_] { server->close(); });
  loop_->hold();
  Ref();
}

Napi::Value NbdServerWrap::listen(const Napi::CallbackInfo& info) {
  Napi::Object object = info[0].As<Napi::Object>();
  ListenAddress address;
  address.unix_path = string_or(object, "path", "");
  address.host = string_or(object, "host", "");
  address.port = static_cast<uint16_t>(uint_or(object, "port", 0));
  auto bound = std::make_shared<ListenAddress>();
  return loop_->run([=, server = server_] { return server->listen(address, bound.get()); },
                    [bound](Napi::Env env) -> Napi::Value {
                      Napi::Object object = Napi::Object::New(env);
                      if (!bound->unix_path.empty()) {
                        object.Set("path", bound->unix_path);
                      } else {
                        object.Set("host", bound->host);
                        object.Set("port", static_cast<double>(bound->port));
                      }
                      return object;
                    });
}

void NbdServerWrap::add_export(const Napi::CallbackInfo& info) {
  Napi::Object options = info[2].As<Napi::Object>();
  NbdExport entry;
  entry.name = info[0].As<Napi::String>().Utf8Value();
  entry.tap = TapWrap::tap_of(info[1]);
  entry.description = string_or(options, "description", "");
  entry.read_only = bool_or(options, "readOnly", false);
  throw_unless_ok(info.Env(), server_->add_export(entry));
}

Napi::Value NbdServerWrap::remove_export(const Napi::CallbackInfo& info) {
  std::string name = info[0].As<Napi::String>().Utf8Value();
  return loop_->finish([=, server = server_] { server->remove_export(name); });
}

Napi::Value NbdServerWrap::stats(const Napi::CallbackInfo& info) {
  NbdServerStats stats = server_->stats();
  return make_object(info.Env(), {{"connections", stats.connections},
                                  {"accepted", stats.accepted},
                                  {"refused", stats.refused},
                                  {"protocolErrors", stats.protocol_errors}});
}

Napi::Value NbdServerWrap::close(const Napi::CallbackInfo&) {
  if (open_) {
    open_ = false;
    loop_->remove_closer(closer_);
    loop_->release();
    Unref();
  }
  return loop_->finish([server = server_] { server->close(); });
}

}  // namespace blockferry::node
