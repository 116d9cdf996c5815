#include "dm_left.h"

#include <memory>
#include <string>
#include <vector>

#include "../core/dm_stack.h"
#include "loop.h"

namespace blockferry::node {

namespace {

Napi::Object make_left(Napi::Env env, const DmLeft& left) {
  static const char* const kStates[] = {"tapped", "fenced", "beside", "alone"};
  Napi::Object object = Napi::Object::New(env);
  object.Set("state", kStates[static_cast<int>(left.state)]);
  object.Set("device", left.device);
  object.Set("inner", left.inner);
  object.Set("suspended", left.suspended);
  object.Set("live", left.live);
  return object;
}

Napi::Value list(const Napi::CallbackInfo& info) {
  auto stacks = std::make_shared<std::vector<DmLeft>>();
  return Loop::of(info.Env())
      ->run([stacks] { return list_dm_stacks(stacks.get()); },
            [stacks](Napi::Env env) -> Napi::Value {
              Napi::Array all = Napi::Array::New(env);
              for (const DmLeft& left : *stacks) all.Set(all.Length(), make_left(env, left));
              return all;
            });
}

Napi::Value clean(const Napi::CallbackInfo& info) {
  std::string device = info[0].As<Napi::String>().Utf8Value();
  bool owned = info[1].As<Napi::Boolean>().Value();
  auto found = std::make_shared<bool>(false);
  return Loop::of(info.Env())
      ->run([=] { return clean_dm_stack(device, owned, found.get()); },
            [found](Napi::Env env) -> Napi::Value { return Napi::Boolean::New(env, *found); });
}

}  // namespace

void install_dm_left(Napi::Env env, Napi::Object exports) {
  exports.Set("listDmStacks", Napi::Function::New<list>(env, "listDmStacks"));
  exports.Set("cleanDmStack", Napi::Function::New<clean>(env, "cleanDmStack"));
}

}  // namespace blockferry::node
