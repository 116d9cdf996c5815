#include "net/fair_queue.h"

#include <algorithm>

namespace blockferry {

FairQueue::Request FairQueue::enter(Flow& flow, uint64_t bytes) {
  uint64_t start = std::max(now_, flow.finish_);
  flow.finish_ = start + bytes;
  Request request{start, entered_++};
  waiting_.insert(request);
  return request;
}

void FairQueue::serve(const Request& request) {
  now_ = request.first;
  waiting_.erase(request);
}

}  // namespace blockferry
