// Who of several may send next, so that all who have something to send get equal shares of the bytes, however
// much each sends at a time: start-time fair queueing (Goyal, Vin, Cheng, 1996), with equal weights.
#pragma once

#include <cstdint>
#include <set>
#include <utility>

namespace blockferry {

// The caller synchronizes. What is counted is bytes: 2^64 of them are never reached.
class FairQueue {
 public:
  // One who sends; its requests may wait at the same time.
  class Flow {
    friend FairQueue;
    uint64_t finish_ = 0;  // where the last request ends
  };
  // Where the request starts, and who came first of those that start together.
  using Request = std::pair<uint64_t, uint64_t>;

  Request enter(Flow& flow, uint64_t bytes);
  bool is_first(const Request& request) const { return *waiting_.begin() == request; }
  // It is sent. Who was idle meanwhile has saved up nothing.
  void serve(const Request& request);
  // It will not be sent.
  void leave(const Request& request) { waiting_.erase(request); }

 private:
  std::set<Request> waiting_;
  uint64_t now_ = 0;  // where the request that was served last starts
  uint64_t entered_ = 0;
};

}  // namespace blockferry
