#include "bandwidth_wrap.h"

namespace blockferry::node {

void BandwidthWrap::install(Napi::Env env, Napi::Object exports) {
  exports.Set("Bandwidth", DefineClass(env, "Bandwidth",
                                       {
                                           InstanceMethod<&BandwidthWrap::set>("set"),
                                       }));
}

BandwidthWrap::BandwidthWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<BandwidthWrap>(info) {}

std::shared_ptr<SharedPacer> BandwidthWrap::pacer_of(const Napi::Value& value) {
  return Unwrap(value.As<Napi::Object>())->pacer_;
}

void BandwidthWrap::set(const Napi::CallbackInfo& info) {
  pacer_->set(info[0].As<Napi::Number>().DoubleValue());
}

}  // namespace blockferry::node
