#include "tls_wrap.h"

#include "values.h"

namespace blockferry::node {

namespace {

TlsFiles read_files(const Napi::Object& object) {
  TlsFiles files;
  files.psk_key_file = string_or(object, "pskKeyFile", "");
  files.psk_identity = string_or(object, "pskIdentity", "");
  files.connects = bool_or(object, "connects", false);
  files.certificate = string_or(object, "certificate", "");
  files.key = string_or(object, "key", "");
  files.ca = string_or(object, "ca", "");
  Napi::Array peers = object.Get("peers").As<Napi::Array>();
  for (uint32_t i = 0; i < peers.Length(); i++) {
    files.peers.push_back(peers.Get(i).As<Napi::String>().Utf8Value());
  }
  return files;
}

}  // namespace

void TlsWrap::install(Napi::Env env, Napi::Object exports) {
  Loop::of(env)->keep_constructor("TlsCredentials", DefineClass(env, "TlsCredentials", {}));
  exports.Set("loadTls", Napi::Function::New<&TlsWrap::load>(env, "loadTls"));
  exports.Set("tls", Napi::Boolean::New(env, TlsCredentials::supported()));
}

TlsWrap::TlsWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TlsWrap>(info),
      credentials_(*info[0].As<Napi::External<std::shared_ptr<const TlsCredentials>>>().Data()) {}

std::shared_ptr<const TlsCredentials> TlsWrap::credentials_of(const Napi::Value& value) {
  return value.IsNull() ? nullptr : Unwrap(value.As<Napi::Object>())->credentials_;
}

Trust TlsWrap::trust_of(const Napi::Value& value) {
  if (!value.IsString()) return credentials_of(value);
  return {nullptr, value.As<Napi::String>().Utf8Value() == "sameUser"};
}

Napi::Value TlsWrap::load(const Napi::CallbackInfo& info) {
  auto loaded = std::make_shared<std::shared_ptr<const TlsCredentials>>();
  TlsFiles files = read_files(info[0].As<Napi::Object>());
  return Loop::of(info.Env())
      ->run([=] { return TlsCredentials::load(files, loaded.get()); },
            [loaded](Napi::Env env) -> Napi::Value {
              using Data = Napi::External<std::shared_ptr<const TlsCredentials>>;
              return Loop::of(env)->construct("TlsCredentials", Data::New(env, loaded.get()));
            });
}

}  // namespace blockferry::node
