// The receiving half of one migration: a control connection, data streams that write to the
// origins of their disks, and checkpoints that flush and read again what was written.
//
// A checkpoint runs when its mark has come on every stream: flush every disk (then the source may
// forget the blocks), read the checkpoint's blocks again and compare them.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "disk/disk_witness.h"
#include "memory/machine_relay.h"
#include "receive/seal.h"
#include "tap/tap.h"
#include "wire/control_channel.h"
#include "wire/digest.h"

namespace blockferry {

struct WrongRange {
  uint32_t disk;
  BlockRange blocks;
};

struct VerifiedMark {
  uint64_t number = 0;
  std::vector<WrongRange> wrong;  // blocks that differ from what was sent
  uint64_t took_us = 0;           // flushing and reading again
  Backlog::Share share;           // the next checkpoint waits until it goes
};

struct ReceiverEvents {
  std::function<void(std::string, Backlog::Share)> message;  // a control message
  std::function<void(uint64_t)> durable;       // what the mark covers is on stable storage
  std::function<void(VerifiedMark)> verified;  // … and was read again
  std::function<void(Status)> failed;          // once; the streams are being stopped
};

struct ReceivedDisk {
  ReceivedDisk(std::shared_ptr<Tap> tap, uint64_t size, uint32_t block_size, bool inventory);
  std::shared_ptr<Tap> tap;
  uint64_t size;  // the source's; the origin may be larger
  uint32_t block_size;
  bool inventory;  // the source is told what is there
  bool allocated;  // all of its space was taken when it began, and stays so
  DestinationDigest digest;
  DiskState flushed;  // how it looked behind the last checkpoint's flush
};

struct ReceiverStats {
  uint64_t wire_bytes = 0;
  uint64_t content_bytes = 0;  // written as data
  uint64_t zero_bytes = 0;     // received as zeroes
  uint64_t unverified_bytes = 0;
  uint64_t missing_bytes = 0;  // never received, or found wrong
};

class ReceiverSession {
 public:
  // `peer`: who has opened it (Socket::peer()).
  ReceiverSession(std::string id, std::string peer) : id_(std::move(id)), peer_(std::move(peer)) {}
  ~ReceiverSession() { close(); }

  const std::string& id() const { return id_; }
  const std::string& peer() const { return peer_; }
  // Begins to deliver control messages, or that it could not.
  void start(ReceiverEvents events);
  Status send_message(const std::string& text) { return control_.send(text); }
  void add_disk(std::shared_ptr<Tap> tap, uint64_t size, uint32_t block_size, bool inventory);
  // From here on `count` data connections are welcome. Without `verify` nothing is read again:
  // every block counts as it came over the wire.
  Status accept_streams(unsigned count, bool verify);

  // From here on connections with the machine's memory are welcome; they are taken to this Unix
  // socket, where its hypervisor listens.
  void accept_machine(const std::string& path);

  // For the decision: from here on no frame is applied, one that comes ends the session
  // (Code::protocol). Returns when nothing is being applied or verified any more, so storage that
  // hangs holds it up. Code::closed when the session ends before all marks that came are verified; when
  // they are, the link may be lost. `changed`: the disks that somebody else has written since the last
  // checkpoint's flush.
  Status seal(std::vector<uint32_t>* changed);
  // The source may send again.
  void unseal() { seal_.lift(); }

  uint64_t digest(uint32_t disk) const { return disks_[disk]->digest.value(); }
  // Blocks that never came, or are not verified.
  uint64_t missing(uint32_t disk) const {
    return disks_[disk]->digest.missing() + disks_[disk]->digest.pending();
  }
  ReceiverStats stats() const;

  // Ends the connections and waits for the threads and what they are writing. Idempotent. Not
  // from the events.
  void close();

  // For the listener: the control connection after its greeting.
  void adopt_control(std::unique_ptr<Socket> socket, FrameReader reader);
  // For the listener: claims a stream's place. Afterwards run_stream() must be called.
  Status join_stream(unsigned index, unsigned count, Socket& socket);
  // Receives on the calling thread until the stream ends.
  void run_stream(unsigned index, Socket& socket, FrameReader& reader);
  // For the listener: the connection on which the source is told what the disks hold, and the
  // telling, until all is told.
  Status join_inventory(Socket& socket);
  void run_inventory(Socket& socket);
  // The same for a connection with the machine's memory.
  Status join_machine(Socket& socket, FileDescriptor* local);
  void run_machine(FileDescriptor local, Socket& socket, FrameReader& reader);

 private:
  friend class StreamReceiver;

  Status tell_all(Socket& socket);
  Status tell_inventory(Socket& socket, uint32_t disk);
  Status tell_hole(Socket& socket, uint32_t disk, uint64_t offset, uint64_t* length);
  Status tell_stripe(Socket& socket, uint32_t disk, uint64_t offset, uint64_t length);
  void shut_down();
  void stream_marked(unsigned index, uint64_t number);
  Status relay_machine(FileDescriptor local, Socket& socket, FrameReader& reader);
  void run_checkpoints();
  Status checkpoint(uint64_t number);
  uint64_t least_mark() const;
  Status compare_with_flushed(std::vector<uint32_t>* changed) const;
  void fail(Status status);

  std::string id_, peer_;
  ReceiverEvents events_;
  ControlChannel control_;
  std::unique_ptr<Socket> waiting_control_;
  std::unique_ptr<FrameReader> waiting_reader_;
  std::vector<std::unique_ptr<ReceivedDisk>> disks_;
  std::atomic<uint64_t> wire_bytes_{0}, content_bytes_{0}, zero_bytes_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  StreamSeal seal_;
  RelayLimits machine_limits_;
  RelayCounters machine_counters_;

  std::mutex close_mutex_;    // a second close() waits for the first
  mutable std::mutex mutex_;  // with changed_: what follows
  std::condition_variable changed_;
  unsigned stream_count_ = 0;
  bool verify_ = true;
  struct Place {
    bool taken = false;        // once and for all
    Socket* socket = nullptr;  // while it is connected
  };
  std::vector<Place> places_;     // of the streams
  unsigned running_streams_ = 0;  // the machine's connections included, and who seals
  bool inventory_asked_ = false;
  bool closed_ = false;
  std::string machine_path_;
  std::set<Socket*> other_sockets_;  // of the machine's memory, and of the inventory
  std::set<MachineRelay*> relays_;
  std::vector<uint64_t> stream_marks_;
  uint64_t verified_mark_ = 0;
  Backlog reports_{1};
  std::thread checkpoints_;
};

}  // namespace blockferry
