#include "emitter.h"

namespace blockferry::node {

void Emitter::emit(const char* name, MakeValue make) {
  loop_->post([self = shared_from_this(), name, make = std::move(make)](Napi::Env env) {
    if (self->listener_.IsEmpty()) return;
    self->listener_.Call({Napi::String::New(env, name), make(env)});
  });
}

}  // namespace blockferry::node
