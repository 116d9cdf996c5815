// One stream of a Sender: a thread, a socket, and the stripes that belong to it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "base/aligned_buffer.h"
#include "disk/io_queue.h"
#include "send/sender.h"
#include "wire/compressor.h"

namespace blockferry {

class StreamSender {
 public:
  StreamSender(Sender& sender, std::unique_ptr<Socket> socket, unsigned index, unsigned count);
  ~StreamSender();
  Status start();
  // Makes the thread end soon; join() waits for it.
  void stop();
  void join();
  // After join().
  void hang_up() { socket_.reset(); }

  SocketProgress progress() const { return socket_ ? socket_->progress() : SocketProgress{}; }
  struct Counters {
    std::atomic<uint64_t> passes{0}, idle_us{0};
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Extent {
    uint32_t disk;
    BlockRange blocks;
    uint64_t offset;
    uint64_t length;
    uint8_t* buffer;
    bool hole;
  };
  struct Frame {
    FrameHeader header;
    const uint8_t* payload = nullptr;
    uint64_t overwrites = 0;  // the offset of a block that is not there yet
  };
  static constexpr size_t kMaxExtentsInBatch = 64;
  enum class Order { stop, mark, send };

  void run();
  Status work();
  Order next_order();
  // The residual is being sent.
  bool finishing() const { return final_mark_ > marked_; }
  Status send_mark(uint64_t number);
  Status end_pass();
  void idle();

  // Claiming: fills extents_ from the cursor on. False when the pass is over.
  bool collect();
  bool claim_extent(uint64_t limit, Extent* extent);
  std::optional<BlockRange> claim_run(const SentDisk& disk, uint64_t limit, bool* hole);
  std::optional<BlockRange> claim_in_stripe(const SentDisk& disk, BlockRange part, uint64_t limit,
                                            bool* hole);
  uint64_t hole_until(const SentDisk& disk, BlockRange range);
  void rewind();

  // Framing what is remembered, without reading it. False when there is no more of it, for now.
  bool confirm();
  bool confirm_run(uint32_t disk);
  void frame_remembered(uint32_t disk, BlockRange run);

  // Reading and framing what was collected.
  Status read_extents();
  IoQueue& queue_of(uint32_t disk);
  void frame_extent(const Extent& extent);
  // What a run of blocks travels as; `kept`: not at all, the destination was told before that it has the same.
  enum class Kind { data, zero, same, kept };
  Kind kind_of(const SentDisk& disk, uint64_t block, uint64_t hash) const;
  void frame_run(const Extent& extent, BlockRange run, const uint64_t* hashes, Kind kind);
  void frame_held(const Extent& extent, BlockRange run, const uint64_t* hashes);
  static uint64_t first_difference(const SentDisk& disk, BlockRange blocks, const uint64_t* hashes);
  static std::atomic<uint64_t>& counter_of(SentDisk& disk, Kind kind);
  void add_payload(const uint8_t* bytes, const uint64_t* hashes, uint64_t count, Frame* frame);
  void frame_extents();
  Status send_frames();
  Status await_separate();
  void pace(uint64_t bytes);

  Sender& sender_;
  std::unique_ptr<Socket> socket_;
  unsigned index_, count_;
  std::thread thread_;
  Counters counters_;

  uint32_t disk_ = 0;  // the cursor
  uint64_t block_ = 0;
  std::vector<uint64_t> confirmed_;  // by disk: nothing that is remembered lies before
  bool found_in_pass_ = false;
  bool waits_for_inventory_ = false;  // the pass ended where the inventory does, for now
  bool bulk_ = true;
  uint64_t marked_ = 0;      // the last mark that was sent
  uint64_t final_mark_ = 0;  // as of the last order: the mark behind the residual, or 0

  AlignedBuffer buffer_;
  size_t buffer_used_ = 0;
  std::vector<Extent> extents_;
  std::vector<IoRequest> reads_;
  std::vector<uint64_t> hashes_;
  std::vector<Frame> frames_;
  std::vector<std::unique_ptr<IoQueue>> queues_;  // by disk, made when first needed
  Compressor compressor_;
};

}  // namespace blockferry
