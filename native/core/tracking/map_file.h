// The file in which what is tracked of a disk outlives the process that tracks it: memory that is
// shared with the page cache, so a process that is killed leaves all it has stored. A host that
// crashes leaves anything: the file holds for one boot.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "base/file_descriptor.h"
#include "base/lazy_words.h"
#include "disk/origin.h"
#include "tracking/dirty_map.h"

namespace blockferry {

struct MapFileHeader;

class MapFile {
 public:
  ~MapFile();
  MapFile(const MapFile&) = delete;
  MapFile& operator=(const MapFile&) = delete;

  // How many words it has room for: those that are allocated at once, whole pages, and behind them hashes
  // by block, which are allocated when they are needed, where holes are told exactly (exact_holes.h).
  struct Words {
    uint64_t at_once;
    uint64_t hashes;
  };
  // Opens the file, or makes it (mode 0600), with room for `words`, zeroed unless trusted(). Code::busy when another process has it, Code::no_space,
  // Code::refused when the path holds something else, which is left alone, Code::no_permission when
  // others can write it. `watch`: the token of the watch that sees the writes to the disk; 0 when
  // they come through a tap's gate.
  static Status open(const std::string& path, Origin& origin, uint32_t block_size, Words words,
                     uint64_t watch, std::unique_ptr<MapFile>* file);
  // With which one it was used last, 0 when none is known.
  static uint64_t watch_of(const std::string& path);

  // It is of this disk, with these blocks, from this boot, and nobody has written the disk past its
  // tap since: the same watch has seen all that was written, or the disk shows that nothing was.
  bool trusted() const { return trusted_; }
  Word* words() { return words_; }
  const std::string& path() const { return path_; }

  // Before a hash of these blocks is stored: a store to where no space is would end the process. Where
  // there is none they are in memory from here on, and the file is worth nothing any more.
  void back(BlockRange blocks);
  // Which hashes of a trusted file may be others than zeroes: those that were backed.
  void each_backed(const std::function<void(BlockRange)>& tell);

  // Its words say something. Until remember(true) what is in it holds for nothing.
  bool remembers() const;
  void remember(bool on);
  // A write begins: nobody who looks at the disk's time of change finds it later
  // than this.
  void stamp();
  // The same for one that has ended: its beginning was so long ago.
  void stamp_end(uint64_t took_ns);
  // No write goes on, and none follows.
  void close(Origin& origin);

 private:
  MapFile() = default;
  Status open_locked(const std::string& path);
  Status map(Words words);
  bool clear();
  Status check_content();
  Status begin(Origin& origin, uint32_t block_size, uint64_t watch);
  bool unwritten(Origin& origin) const;

  std::string path_;
  FileDescriptor fd_;
  MapFileHeader* header_ = nullptr;
  Word* words_ = nullptr;
  uint64_t bytes_ = 0;
  Words count_{};
  bool sparse_ = false;
  std::atomic<bool> lost_{false};  // part of it is in memory only
  bool layout_known_ = false;
  bool trusted_ = false;
};

}  // namespace blockferry
