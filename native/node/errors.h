// The one place where a Status becomes a JavaScript error. lib/base/errors.ts makes its class of it.
#pragma once

#include <napi.h>

#include "base/status.h"

namespace blockferry::node {

// An Error with `code` (code_name()), `errno` (a number, 0 if none) and the operation as message.
Napi::Error make_error(Napi::Env env, const Status& status);
void throw_unless_ok(Napi::Env env, const Status& status);

}  // namespace blockferry::node
