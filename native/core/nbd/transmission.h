// The transmission phase of one connection, on the connection's thread:
//
//   receive much at once -> take the requests out and begin each (requests.h)
//   -> answer all that is done in one send -> sleep when there is nothing to receive
//
// While no request is under way the thread sleeps in recv() itself, else in poll() on the socket,
// the I/O queue and the event that wakes it. It stops receiving when too much is pending.
#pragma once

#include <time.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "nbd/handshake.h"
#include "nbd/input.h"
#include "nbd/replies.h"
#include "nbd/requests.h"

namespace blockferry {

class NbdTransmission {
 public:
  // `event` becomes readable when the tap's gate changed or `stop` was set. Whoever sets `stop`
  // also shuts the socket's receiving side down.
  NbdTransmission(int socket, int event, const std::atomic<bool>& stop, Tap& tap,
                  const NbdSession& session, unsigned queue_depth)
      : socket_(socket),
        event_(event),
        stop_(stop),
        replies_(pool_, session.structured_replies),
        requests_(tap, session, queue_depth, pool_, replies_) {}

  // Serves the client to its end. False when it broke the protocol.
  bool run();

 private:
  // The later ones outrank the earlier ones.
  enum class Ending {
    none,
    disconnect,  // the client asked for it: everything is still done and answered
    broken,      // the client broke the protocol: what is held is dropped
    stopped,     // our side ends it: what is held is answered with NBD_ESHUTDOWN
    gone,        // nobody is there to answer
  };

  void end(Ending ending);
  void break_off();
  void peer_gone();
  bool finished() const;

  void take_requests();
  bool take_request();
  bool take_payload();
  bool take_write(const nbd::Request& wire);

  void wait();
  bool receive(bool may_sleep);
  void sleep(bool wants_input);
  bool time_to_wake(timespec* left) const;
  bool was_woken();
  void retry_held();

  int socket_;
  int event_;
  const std::atomic<bool>& stop_;
  NbdBufferPool pool_;
  NbdInput input_;
  NbdReplies replies_;
  NbdRequests requests_;

  Ending ending_ = Ending::none;
  bool broke_protocol_ = false;
  Clock::time_point linger_until_{};  // broken, stopped: how long answers are worth trying
  bool stalled_ = false;              // a request is there, but no room for it
  int taken_ = 0;                     // requests in the last gulp

  NbdRequest* incoming_ = nullptr;  // its payload is being received
  size_t incoming_filled_ = 0;
  uint64_t skip_ = 0;  // bytes of a refused write's payload, to be thrown away
};

}  // namespace blockferry
