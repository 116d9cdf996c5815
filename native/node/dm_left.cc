#include "tap/dm/left.h"

#include <memory>
#include <string>
#include <vector>

#include "loop.h"
#include "tap/dm/moved.h"
#include "tap/dm/stack.h"

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
  object.Set("moved", left.moved);
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

template <Status (*kStep)(const std::string&)>
Napi::Value with_path(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  return Loop::of(info.Env())->run([=] { return kStep(path); });
}

}  // namespace

void install_dm_left(Napi::Env env, Napi::Object exports) {
  exports.Set("listDmStacks", Napi::Function::New<list>(env, "listDmStacks"));
  exports.Set("cleanDmStack", Napi::Function::New<clean>(env, "cleanDmStack"));
  constexpr auto kMark = with_path<mark_moved>;
  constexpr auto kUnfence = with_path<unfence_moved>;
  exports.Set("markDmMoved", Napi::Function::New<kMark>(env, "markDmMoved"));
  exports.Set("unfenceDmMoved", Napi::Function::New<kUnfence>(env, "unfenceDmMoved"));
}

}  // namespace blockferry::node
