#include "errors.h"

namespace blockferry::node {

Napi::Error make_error(Napi::Env env, const Status& status) {
  std::string message = status.operation.empty() ? code_name(status.code) : status.operation;
  if (status.error != 0) message += std::string(": ") + strerror(status.error);
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code_name(status.code)));
  error.Set("errno", Napi::Number::New(env, status.error));
  return error;
}

void throw_unless_ok(Napi::Env env, const Status& status) {
  if (!status.ok()) throw make_error(env, status);
}

}  // namespace blockferry::node
