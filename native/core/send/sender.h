// The sending half of a migration: reads the blocks that the dirty maps name and sends them over
// several streams, in passes (rounds) without end, until finish() asks for the residual.
//
// The way of a block: dirty map → (claim) pending map → (read) buffer → (hash) digest → frame.
// It leaves the pending map when the destination said that it is durable; until then the next
// session finds it dirty (Tracking).
//
// Order: a stripe of a disk always travels on the same stream, and a stream sends in the order
// of its claims, so no older version of a block can overtake a newer one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "memory/machine_port.h"
#include "net/pacer.h"
#include "net/trust.h"
#include "send/peer_hashes.h"
#include "tap/tap.h"
#include "tracking/dirty_map.h"
#include "wire/control_channel.h"
#include "wire/digest.h"

namespace blockferry {

class StreamSender;

// What is known of the destination's disk.
struct PeerDisk {
  bool blank = false;      // it holds nothing but zeroes
  bool inventory = false;  // it will tell what it holds (open_inventory())
  bool separate = false;   // it is not the source's own
};

// A disk as the sender sees it. Its tap must track.
struct SentDisk {
  SentDisk(std::shared_ptr<Tap> tap, PeerDisk known);
  std::shared_ptr<Tap> tap;
  std::shared_ptr<Tracking> tracking;
  DirtyMap* dirty;
  // The destination held nothing but zeroes at first; false once a block there was found wrong.
  std::atomic<bool> peer_blank;
  SourceDigest digest;
  // What the destination held at first, by block hashes, and how many blocks of that are known:
  // nothing behind them is sent yet. All of them without an inventory (then `peer` is null).
  std::unique_ptr<PeerHashes> peer;
  // Nothing is overwritten there before this is known: it could be what the source's writers have just
  // written. `asked`: with the sender's lock.
  std::atomic<bool> separate;
  bool asked = false;
  std::atomic<uint64_t> known_blocks;
  // Sent in an earlier session, not written since, and not confirmed in this one; null for none.
  std::unique_ptr<DirtyMap> remembered;
  std::atomic<uint64_t> content_bytes{0}, zero_bytes{0}, same_bytes{0}, wire_bytes{0};
};

struct SenderEvents {
  std::function<void(std::string, Backlog::Share)> message;  // a control message
  std::function<void()> bulk_done;                           // every block was claimed once
  std::function<void(uint64_t)> marked;                      // the mark left on every stream
  std::function<void(Status)> failed;                        // once; the streams are being stopped
  // Of a disk and the offset of a block, once a disk: something is to be overwritten there, and that waits
  // until separate() is called.
  std::function<void(uint32_t, uint64_t)> overwrites{};
};

struct SentDiskStats {
  uint64_t dirty_bytes = 0;    // not claimed, now
  uint64_t pending_bytes = 0;  // claimed, not durable
  uint64_t marked_bytes = 0;   // went from clean to dirty, ever
  uint64_t content_bytes = 0;  // sent as data, before compression, ever
  uint64_t zero_bytes = 0;     // found to be zeroes, ever
  uint64_t same_bytes = 0;     // found to be at the destination already, ever
  uint64_t wire_bytes = 0;     // framed for the wire, ever
};

struct SenderStats {
  std::vector<SentDiskStats> disks;
  uint64_t acknowledged_bytes = 0;  // by the peer's TCP, ever
  uint64_t in_flight_bytes = 0;     // handed to the sockets and not acknowledged, now
  uint64_t passes = 0;              // the most that any stream has completed
  uint64_t idle_us = 0;             // streams had nothing to send; the mean over those with stripes
  uint32_t round_trip_us = 0;
  MachineStats machine;
};

class Sender {
 public:
  Sender(SenderEvents events, uint32_t link_timeout_ms, Trust trust);
  ~Sender();

  // The control connection. Blocks.
  Status connect(const std::string& host, uint16_t port, uint32_t timeout_ms);
  Status send_message(const std::string& text) { return control_.send(text); }
  // Every block is to be sent, but for what the destination holds where it tells that.
  void add_disk(std::shared_ptr<Tap> tap, PeerDisk known);
  // The destination's disk is not the source's own.
  void separate(uint32_t disk);
  // Begins to take the inventory in, for the disks that have one. Blocks until that is agreed on.
  Status open_inventory();
  // The data connections, once the peer has accepted the disks. Blocks; nothing is sent yet.
  Status open_streams(unsigned count);
  // Begins to send, or tells that it could not.
  void start();
  // Listens on a Unix socket for the hypervisor that sends the machine's memory, and takes that
  // to the destination. The bandwidth cap counts for it, too.
  Status open_machine(const std::string& path);
  // What may wait in the sockets of the machine's memory, bytes (0: no limit), and the zstd level
  // that it is compressed with (0: not at all).
  void set_machine_limits(uint64_t max_in_flight, int level);

  void set_bandwidth(double bytes_per_second) { pacer_.set(bytes_per_second); }
  // Shares a cap with other migrations; null for none.
  void share_bandwidth(std::shared_ptr<SharedPacer> shared) { pacer_.share(std::move(shared)); }
  // The largest claim, 64 KiB to 1 MiB: small on slow links, where a claimed block that is
  // written again before it is sent costs a second sending.
  void set_max_extent(uint32_t bytes) { max_extent_.store(bytes); }
  // Holds back what would make more than this wait in the sockets: it is a queue in front of the
  // residual. 0 for no limit.
  void set_max_in_flight(uint64_t bytes) { max_in_flight_.store(bytes); }
  // zstd level for payloads, 0 for none.
  void set_compression(int level) { compression_.store(level); }
  // Leaves blocks for later that were written in the last this long; 0 for none.
  void set_defer(uint32_t ms);
  void pause(bool on);
  // Sends mark `number` (the last one plus 1) behind everything claimed before. The next may
  // only follow when the destination has verified this one.
  void mark(uint64_t number);
  // What mark `number` covers is durable at the destination.
  void durable(uint64_t number);
  // Sends what is left (the writer must be stopped), then mark `number` as the final one.
  void finish(uint64_t number);
  // Goes on after a finish() that came to nothing.
  void unfinish();
  // These blocks must be sent again. Code::protocol when there are none such: a peer named them.
  Status mark_again(uint32_t disk, BlockRange range);
  size_t disks() const { return disks_.size(); }
  uint64_t digest(uint32_t disk) const { return disks_[disk]->digest.value(); }
  SenderStats stats() const;

  // Ends the connections and waits for the threads. Idempotent. Not from the events.
  void close();

 private:
  friend class StreamSender;

  Status take_inventory();
  Status take_hashes(const FrameHeader& header);
  Status connect_greeted(const std::string& hello, std::unique_ptr<Socket>* socket,
                         std::unique_ptr<FrameReader>* reader, std::string* answer);
  Status check_peer(const Socket& socket) const;
  Status open_stream(unsigned index, unsigned count, std::unique_ptr<StreamSender>* stream);
  Status await_separate(uint32_t disk, uint64_t offset);
  void wake_streams();
  void stop_streams();
  size_t streams_with_stripes() const;
  void fail(Status status);
  void age_when_due();
  void stream_finished_bulk();
  void stream_marked(uint64_t number);

  SenderEvents events_;
  uint32_t link_timeout_ms_;
  const Trust trust_;
  std::string host_, session_;
  uint16_t port_ = 0;
  uint32_t connect_timeout_ms_ = 0;
  ControlChannel control_;
  std::vector<std::unique_ptr<SentDisk>> disks_;
  std::vector<std::unique_ptr<StreamSender>> streams_;

  std::unique_ptr<Socket> inventory_socket_;
  std::unique_ptr<FrameReader> inventory_reader_;
  std::thread inventory_;
  RelayLimits machine_limits_;
  std::unique_ptr<MachinePort> machine_;

  // What the streams look at.
  Pacer pacer_;
  std::atomic<uint32_t> max_extent_{1 << 20};
  std::atomic<uint64_t> max_in_flight_{0};
  std::atomic<int> compression_{0};
  std::atomic<uint32_t> defer_ms_{0};
  std::atomic<bool> stop_{false};
  std::atomic<bool> failed_{false};
  std::atomic<unsigned> bulk_left_{0};
  std::mutex close_mutex_;    // a second close() waits for the first
  mutable std::mutex mutex_;  // with changed_: streams_, machine_, paused_, the marks
  std::condition_variable changed_;
  std::condition_variable stopping_;
  bool paused_ = false;
  uint64_t wanted_mark_ = 0;
  unsigned marks_left_ = 0;       // streams that have not sent it
  uint64_t final_mark_ = 0;       // the mark behind the residual; 0 while none is wanted
  Clock::time_point next_age_{};  // only the first stream looks
};

}  // namespace blockferry
