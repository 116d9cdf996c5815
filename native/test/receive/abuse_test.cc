// A source that speaks well-formed frames in the wrong place: each ends its session with a clear
// code, writes nothing that it should not, and leaves the receiver ready for the next.
// sanitizers: address, thread
#include <cstring>
#include <functional>
#include <future>
#include <vector>

#include "disk/block_hash.h"
#include "receive/listener.h"
#include "test/check.h"

using namespace blockferry;

namespace {

constexpr uint64_t kSize = 64 << 20;

// A control connection and one data stream, made by hand.
class RawSource {
 public:
  explicit RawSource(uint16_t port) : port_(port) { control_ = greet("control", &session_id_); }
  void open_stream(const std::string& index_and_count = "0 1") {
    std::string ignored;
    data_ = greet("data " + session_id_ + " " + index_and_count, &ignored);
  }
  void ask_inventory() {
    std::string ignored;
    inventory_ = greet("inventory " + session_id_, &ignored);
  }
  // False when the receiver has hung up.
  bool send(const FrameHeader& header, const void* payload = nullptr, size_t length = 0) {
    uint8_t bytes[kHeaderSize];
    encode_header(header, bytes);
    iovec parts[2] = {{bytes, sizeof bytes}, {const_cast<void*>(payload), length}};
    return data_->send(parts, 2).ok();
  }
  void hang_up() { data_.reset(); }
  Status refusal;  // of the last greeting

 private:
  std::unique_ptr<Socket> greet(const std::string& hello, std::string* answer) {
    FileDescriptor fd;
    CHECK(connect_tcp("127.0.0.1", port_, 5000, &fd).ok());
    auto socket = std::make_unique<Socket>(std::move(fd));
    CHECK(send_text(*socket, FrameType::hello, hello).ok());
    FrameReader reader(*socket);
    FrameHeader header;
    CHECK(reader.header(&header).ok());
    CHECK(reader.text(header, answer).ok());
    refusal = header.type == FrameType::error ? error_from_text(*answer) : Status{};
    return socket;
  }

  uint16_t port_;
  std::string session_id_;
  std::unique_ptr<Socket> control_, data_, inventory_;
};

FrameHeader data_frame(const std::vector<uint8_t>& content, uint64_t offset) {
  std::vector<uint64_t> hashes((content.size() + 4095) / 4096);
  hash_blocks(content.data(), content.size(), 4096, hashes.data());
  FrameHeader header;
  header.type = FrameType::data;
  header.offset = offset;
  header.length = content.size();
  header.payload = static_cast<uint32_t>(content.size());
  header.check = check_of(hashes.data(), hashes.size(), offset);
  return header;
}

FrameHeader same_frame(uint64_t hash, uint64_t offset) {
  FrameHeader header;
  header.type = FrameType::same;
  header.offset = offset;
  header.length = 4096;
  header.check = check_of(&hash, 1, offset);
  return header;
}

FrameHeader same_zeroes_frame(uint64_t offset) {
  FrameHeader header = same_frame(kZeroBlock, offset);
  header.flags = kFlagZeroes;
  header.check = check_of(nullptr, 0, offset);
  return header;
}

FrameHeader zero_frame(uint64_t offset) {
  FrameHeader header;
  header.type = FrameType::zero;
  header.offset = offset;
  header.length = 4096;
  return header;
}

// How a session ends whose source behaves so.
Code end_of(unsigned streams, bool inventory, const std::function<void(RawSource&)>& behave) {
  std::promise<std::shared_ptr<ReceiverSession>> came;
  auto welcome = [&](std::shared_ptr<ReceiverSession> s) { came.set_value(s); };
  MigrationListener listener({}, welcome, [](Refusal) {});
  CHECK(listener.listen("127.0.0.1", 0).ok());
  RawSource source(listener.bound().port);
  auto session = came.get_future().get();
  auto tap = std::make_shared<Tap>(make_memory_origin(kSize));
  session->add_disk(tap, kSize, 4096, inventory);
  std::promise<Status> failed;
  session->start({[](std::string, Backlog::Share) {}, [](uint64_t) {}, [](VerifiedMark) {},
                  [&](Status status) { failed.set_value(std::move(status)); }});
  CHECK(session->accept_streams(streams, true).ok());
  behave(source);
  Status status = failed.get_future().get();
  session->close();
  listener.close();
  std::vector<uint8_t> content(kSize);
  CHECK(tap->origin().read(content.data(), 0, kSize).ok());
  CHECK(is_zero(content.data(), kSize));  // nothing of it was written
  return status.code;
}

void check(const char* name, Code code, std::function<void(RawSource&)> behave,
           unsigned streams = 1, bool inventory = false) {
  CHECK(end_of(streams, inventory, behave) == code);
  printf("ok %s\n", name);
}

}  // namespace

int main() {
  std::vector<uint8_t> block(4096, 7);
  auto send_block = [&](uint64_t offset) {
    return [&block, offset](RawSource& source) {
      source.open_stream();
      source.send(data_frame(block, offset), block.data(), block.size());
    };
  };
  check("an extent past the end", Code::protocol, send_block(kSize));
  check("an extent far past the end", Code::protocol, send_block(1ull << 62));
  check("an extent between blocks", Code::protocol, send_block(512));
  check("an extent of a part of a block", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    std::vector<uint8_t> part(1000, 7);
    source.send(data_frame(part, 0), part.data(), part.size());
  });
  check("a disk that is not there", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    FrameHeader header = data_frame(block, 0);
    header.disk = 1;
    source.send(header, block.data(), block.size());
  });
  check(
      "a stripe of another stream", Code::protocol,
      [&](RawSource& source) {
        source.open_stream("0 2");
        source.send(data_frame(block, kStripe), block.data(), block.size());
      },
      2);
  check("an extent over two stripes", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    std::vector<uint8_t> two(8192, 7);
    source.send(data_frame(two, kStripe - 4096), two.data(), two.size());
  });
  check("a wrong check", Code::checksum, [&](RawSource& source) {
    source.open_stream();
    FrameHeader header = data_frame(block, 0);
    header.check++;
    source.send(header, block.data(), block.size());
  });
  check("content of another place", Code::checksum, [&](RawSource& source) {
    source.open_stream();
    FrameHeader header = data_frame(block, 0);
    header.offset = 4096;
    source.send(header, block.data(), block.size());
  });
  check("a compressed payload that is none", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    FrameHeader header = data_frame(block, 0);
    header.flags = kFlagZstd;
    source.send(header, block.data(), block.size());
  });
  check("a mark out of order", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    FrameHeader header;
    header.type = FrameType::mark;
    header.length = 2;
    source.send(header);
  });
  check("a control message on a data stream", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    source.send(text_header(FrameType::control, "{}"), "{}", 2);
  });
  check("an inventory from the wrong side", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    FrameHeader header;
    header.type = FrameType::hashes;
    source.send(header);
  });
  check("an extent said to be there, without an inventory", Code::protocol, [&](RawSource& source) {
    source.open_stream();
    source.send(same_frame(kZeroBlock, 0));
  });
  check(
      "an extent said to be there that was never told", Code::protocol,
      [&](RawSource& source) {
        source.open_stream();
        source.send(same_frame(12345, 0));
      },
      1, true);
  check(
      "zeroes said to be there that nobody has looked for", Code::protocol,
      [&](RawSource& source) {
        source.open_stream();
        source.send(same_frame(kZeroBlock, 0));
      },
      1, true);
  check(
      "the same, as a run", Code::protocol,
      [&](RawSource& source) {
        source.open_stream();
        source.send(same_zeroes_frame(0));
      },
      1, true);
  check(
      "an extent said to be there that has been sent", Code::protocol,
      [&](RawSource& source) {
        source.open_stream();
        source.send(zero_frame(0));
        source.send(same_frame(kZeroBlock, 0));
      },
      1, true);
  check("an inventory that was not agreed on", Code::peer_gone, [&](RawSource& source) {
    source.open_stream();
    source.ask_inventory();
    CHECK(source.refusal.code == Code::protocol);
    source.hang_up();
  });
  check(
      "an inventory twice", Code::peer_gone,
      [&](RawSource& source) {
        source.open_stream();
        source.ask_inventory();
        CHECK(source.refusal.ok());
        source.ask_inventory();
        CHECK(source.refusal.code == Code::protocol);
        source.hang_up();
      },
      1, true);
  check("a stream that ends in the middle of a frame", Code::peer_gone, [&](RawSource& source) {
    source.open_stream();
    source.send(data_frame(block, 0), block.data(), 100);
    source.open_stream();  // the first one is closed by this; a second is not welcome
    CHECK(source.refusal.code == Code::busy || source.refusal.code == Code::closed);
  });
  check("streams that were not agreed on", Code::peer_gone, [&](RawSource& source) {
    for (const char* wrong : {"1 1", "0 2", "99 100", "0 0", "x"}) {
      source.open_stream(wrong);
      CHECK(source.refusal.code == Code::protocol);
    }
    source.open_stream();
    CHECK(source.refusal.ok());
    source.hang_up();
  });
}
