// Reading options and making objects. lib/ has validated what comes in: a wrong type here is a
// defect of ours and throws a TypeError.
#pragma once

#include <napi.h>

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>

namespace blockferry::node {

inline double number_or(const Napi::Object& object, const char* key, double fallback) {
  Napi::Value value = object.Get(key);
  return value.IsUndefined() ? fallback : value.As<Napi::Number>().DoubleValue();
}

inline uint64_t uint_or(const Napi::Object& object, const char* key, uint64_t fallback) {
  return static_cast<uint64_t>(number_or(object, key, static_cast<double>(fallback)));
}

inline bool bool_or(const Napi::Object& object, const char* key, bool fallback) {
  Napi::Value value = object.Get(key);
  return value.IsUndefined() ? fallback : value.As<Napi::Boolean>().Value();
}

inline std::string string_or(const Napi::Object& object, const char* key,
                             const std::string& fallback) {
  Napi::Value value = object.Get(key);
  return value.IsUndefined() ? fallback : value.As<Napi::String>().Utf8Value();
}

inline uint64_t to_uint(const Napi::Value& value) {
  return static_cast<uint64_t>(value.As<Napi::Number>().DoubleValue());
}

inline Napi::Object make_object(Napi::Env env,
                                std::initializer_list<std::pair<const char*, uint64_t>> members) {
  Napi::Object object = Napi::Object::New(env);
  for (auto& [key, value] : members)
    object.Set(key, Napi::Number::New(env, static_cast<double>(value)));
  return object;
}

// 16 hexadecimal digits: a 64-bit value that a JavaScript number can't hold.
inline Napi::String make_digest(Napi::Env env, uint64_t digest) {
  char text[17];
  snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(digest));
  return Napi::String::New(env, text);
}

}  // namespace blockferry::node
