// One connection of a machine's memory stream on its way through the migration's own port: a
// local Unix socket, where the hypervisor is, on one side; MACHINE frames over TCP on the other.
// Both sides of a migration have one, and it carries both directions.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "base/file_descriptor.h"
#include "memory/memory_compressor.h"
#include "net/pacer.h"
#include "wire/frame_io.h"

namespace blockferry {

// How a relay sends to its peer; shared by all of a session's. The defaults hold nothing back.
struct RelayLimits {
  Pacer* pacer = nullptr;
  // What may wait in the socket, bytes: it is a queue in front of the last of the memory. 0 for
  // no limit.
  std::atomic<uint64_t> max_in_flight{0};
  std::atomic<int> level{0};  // zstd, 0 for none
  std::atomic<bool> stop{false};
};

// Of what was sent to the peer, ever.
struct RelayCounters {
  std::atomic<uint64_t> content_bytes{0}, wire_bytes{0};
};

class MachineRelay {
 public:
  MachineRelay(FileDescriptor local, Socket& peer, FrameReader& reader, RelayLimits& limits,
               RelayCounters& counters);
  // Until both directions have ended. Ok when they did in good order, and when it was the local
  // side that broke off: the hypervisor knows best why. Else what is wrong with the peer, or that
  // no thread was to be had.
  Status run();
  // Ends both directions, from any thread: whatever the hypervisor and the peer do, run() returns.
  void break_off();
  SocketProgress progress() const { return peer_.progress(); }

 private:
  Status to_peer();
  Status from_peer();
  void wait_for_room();
  size_t piece_size() const;
  Status send_piece(const uint8_t* bytes, size_t length);
  Status receive_piece(const FrameHeader& header);
  bool write_local(const uint8_t* bytes, size_t length);

  FileDescriptor local_;
  Socket& peer_;
  FrameReader& reader_;
  RelayLimits& limits_;
  RelayCounters& counters_;
  StreamCompressor compressor_;
  StreamDecompressor decompressor_;
  std::vector<uint8_t> payload_, content_;
};

// Connects to the Unix socket of a hypervisor that listens.
Status connect_unix(const std::string& path, FileDescriptor* socket);

}  // namespace blockferry
