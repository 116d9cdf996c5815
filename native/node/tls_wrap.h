// TLS credentials, loaded once for all connections of a migration.
#pragma once

#include <napi.h>

#include <memory>

#include "loop.h"
#include "net/trust.h"

namespace blockferry::node {

// JavaScript's loadTls(files): a promise of an object without methods, whose content no inspection
// shows.
class TlsWrap : public Napi::ObjectWrap<TlsWrap> {
 public:
  static void install(Napi::Env env, Napi::Object exports);
  explicit TlsWrap(const Napi::CallbackInfo& info);
  // Null for null.
  static std::shared_ptr<const TlsCredentials> credentials_of(const Napi::Value& value);
  // Of credentials, 'sameUser' or 'anybody'.
  static Trust trust_of(const Napi::Value& value);

 private:
  static Napi::Value load(const Napi::CallbackInfo& info);

  std::shared_ptr<const TlsCredentials> credentials_;
};

}  // namespace blockferry::node
