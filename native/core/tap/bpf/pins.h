// What keeps a program of ours in the kernel when our process is killed: a folder in the BPF file
// system, with a name for each of its parts. Only one process has it open. When this goes, so does
// the folder; it is left only by a process that had no time for that.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/status.h"

namespace blockferry {

class BpfPins {
 public:
  ~BpfPins();
  BpfPins(const BpfPins&) = delete;
  BpfPins& operator=(const BpfPins&) = delete;

  // Makes the folder when it is not there, and mounts the file system when that is not. Code::busy
  // when another process has it, Code::unsupported, Code::no_permission.
  static Status open(const std::string& name, std::unique_ptr<BpfPins>* pins);

  Status add(const std::string& part, int fd) const;
  // Code::not_found.
  Status get(const std::string& part, FileDescriptor* fd) const;
  void clear() const;

  struct Folder {
    std::string name;
    bool in_use;  // by a process that lives
  };
  static std::vector<Folder> list();
  // Code::busy, Code::not_found.
  static Status remove(const std::string& name);

 private:
  explicit BpfPins(std::string path) : path_(std::move(path)) {}
  Status make();
  Status lock();

  std::string path_;
  FileDescriptor fd_;
};

}  // namespace blockferry
