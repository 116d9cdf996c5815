// One client's connection, served on a thread of its own: the handshake, then the transmission.
#pragma once

#include <atomic>
#include <memory>

#include "base/file_descriptor.h"
#include "nbd/handshake.h"
#include "nbd/server.h"

namespace blockferry {

class NbdConnection;

// The server as a connection sees it. Safe from any thread.
class NbdConnectionHost : public NbdExportTable {
 public:
  // From now on the connection uses the export: null when that was removed meanwhile.
  virtual std::shared_ptr<Tap> attach(NbdConnection* connection, const NbdExportInfo& entry) = 0;
  virtual void count_protocol_error() = 0;
};

class NbdConnection : public Waker {
 public:
  NbdConnection(FileDescriptor socket, NbdConnectionHost& host, const NbdServerOptions& options);

  // Serves the client to its end; holds no export any more when it returns.
  void run();

  // From any thread. What is in flight is finished, what the gate holds is answered with
  // NBD_ESHUTDOWN, then run() returns.
  void stop();
  void wake() override;
  // An export, of those that there are.
  bool has_chosen() const { return chosen_.load(); }

 private:
  void serve();
  bool transmit(Tap& tap, const NbdSession& session);
  void hang_up();

  FileDescriptor socket_;
  FileDescriptor event_;
  NbdConnectionHost& host_;
  const NbdServerOptions options_;
  std::atomic<bool> stop_{false}, chosen_{false};
};

}  // namespace blockferry
