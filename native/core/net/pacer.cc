#include "net/pacer.h"

namespace blockferry {

void Pacer::share(std::shared_ptr<SharedPacer> above) {
  std::lock_guard lock(mutex_);
  above_ = above ? std::make_shared<Above>(Above{std::move(above), {}}) : nullptr;
}

void Pacer::wait(uint64_t bytes, const std::function<bool()>& stopped) {
  own_.wait(flow_, bytes, stopped);
  std::shared_ptr<Above> above;
  {
    std::lock_guard lock(mutex_);
    above = above_;
  }
  if (above) above->pacer->wait(above->flow, bytes, stopped);
}

}  // namespace blockferry
