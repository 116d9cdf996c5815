// The fixed newstyle handshake, from the greeting to the choice of an export.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace blockferry {

// What a handshake knows of an export. It does not hold the export: that can be removed while a
// client is still choosing.
struct NbdExportInfo {
  uint64_t id = 0;  // of this export, and never of a later one with its name
  std::string name;
  std::string description;
  bool read_only = false;
  uint64_t size = 0;
  uint32_t alignment = 1;
};

// The server's exports. Safe from any thread.
class NbdExportTable {
 public:
  virtual ~NbdExportTable() = default;
  // In the order of their names.
  virtual std::vector<NbdExportInfo> exports() const = 0;
  // The empty name means the only export there is.
  virtual std::optional<NbdExportInfo> find_export(const std::string& name) const = 0;
};

// What was agreed on.
struct NbdSession {
  NbdExportInfo entry;
  bool structured_replies = false;
  bool allocation_context = false;  // base:allocation
};

enum class HandshakeEnd {
  transmission,  // the session is filled in
  parted,        // the client left, asked to, or took too long
  broken,        // the client broke the protocol
};

class NbdHandshake {
 public:
  // Ends as `parted` at `deadline`, however busy the client is. `chosen` is set when the client has
  // chosen its export, before it is told so.
  NbdHandshake(int fd, const NbdExportTable& table, std::chrono::steady_clock::time_point deadline,
               std::atomic<bool>& chosen)
      : fd_(fd), table_(table), deadline_(deadline), chosen_(chosen) {}

  HandshakeEnd run(NbdSession* session);

 private:
  // What follows an option.
  enum class Next { option, transmission, part, broken };

  bool receive(void* bytes, size_t length);
  bool send(const std::vector<uint8_t>& bytes);
  bool wait(short events);
  bool greet();
  Next read_option();
  Next take_option(uint32_t option, const std::vector<uint8_t>& data);
  Next export_name(const std::vector<uint8_t>& data);
  Next list(const std::vector<uint8_t>& data);
  Next info_or_go(uint32_t option, const std::vector<uint8_t>& data);
  Next structured_reply(const std::vector<uint8_t>& data);
  Next meta_context(uint32_t option, const std::vector<uint8_t>& data);
  Next reply(uint32_t option, uint32_t type, const std::vector<uint8_t>& data = {});
  Next refuse(uint32_t option, uint32_t type, const std::string& why);
  bool send_infos(uint32_t option, const NbdExportInfo& entry, const std::vector<uint16_t>& wanted);
  uint16_t transmission_flags(const NbdExportInfo& entry) const;
  void choose(const std::string& name, const NbdExportInfo& entry);

  int fd_;
  const NbdExportTable& table_;
  std::chrono::steady_clock::time_point deadline_;
  std::atomic<bool>& chosen_;
  NbdSession session_;
  bool no_zeroes_ = false;
  // The contexts hold only for the export that they were asked for.
  bool context_chosen_ = false;
  std::string context_export_;
};

}  // namespace blockferry
