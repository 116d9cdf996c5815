#include "disk/image_format.h"

#include <algorithm>
#include <string_view>

#include "base/aligned_buffer.h"

namespace blockferry {

namespace {

using namespace std::literals;

constexpr uint64_t kFooter = 512;
constexpr uint64_t kLook = 4096;  // a multiple of every alignment

struct Format {
  const char* name;
  uint64_t offset;
  std::string_view word;
};

constexpr Format kFirst[] = {
    {"qcow2", 0, "QFI\xfb"sv},
    {"QED", 0, "QED\0"sv},
    {"VMDK", 0, "KDMV"sv},
    {"VMDK", 0, "COWD"sv},
    {"VMDK", 0, "# Disk DescriptorFile"sv},
    {"VHDX", 0, "vhdxfile"sv},
    {"VHD", 0, "conectix"sv},
    {"VDI", 64, "\x7f\x10\xda\xbe"sv},
    {"Parallels", 0, "WithoutFreeSpace"sv},
    {"Parallels", 0, "WithouFreSpacExt"sv},
};
// Of its last sector; of a fixed size it begins with the disk's own content.
constexpr Format kLast[] = {{"VHD", 0, "conectix"sv}};

template <size_t kCount>
const char* find(const Format (&formats)[kCount], std::string_view bytes) {
  for (const Format& format : formats) {
    if (bytes.substr(std::min(format.offset, bytes.size())).starts_with(format.word)) {
      return format.name;
    }
  }
  return nullptr;
}

const char* format_of(Origin& origin) {
  auto buffer = make_aligned_buffer(kLook);
  auto* text = reinterpret_cast<const char*>(buffer.get());
  uint64_t length = std::min(kLook, origin.size());
  if (!origin.read(buffer.get(), 0, length).ok()) return nullptr;
  const char* name = find(kFirst, {text, length});
  if (name != nullptr || !origin.read(buffer.get(), origin.size() - length, length).ok())
    return name;
  return find(kLast, {text + length - kFooter, kFooter});
}

}  // namespace

Status check_raw(Origin& origin) {
  const char* name = format_of(origin);
  if (name == nullptr) return {};
  return Status::failure(
      Code::unsupported,
      origin.name() + " looks like a " + name +
          " image, and only raw ones are taken, as "
          "they are: convert it (qemu-img convert -O raw), or use force if it is a raw disk "
          "all the same");
}

}  // namespace blockferry
