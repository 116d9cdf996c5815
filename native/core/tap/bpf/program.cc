#include "tap/bpf/program.h"

#include <cerrno>

#ifdef BLOCKFERRY_HAVE_BPF

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <algorithm>
#include <cstring>

#include "block_writes_object.h"
#include "disk/block_hash.h"
#include "tap/bpf/kernel_marks.h"

namespace blockferry {

namespace {

const char* const kOfRequests[] = {"on_issue", "on_complete", "on_requeue"};
const char* const kOfBios[] = {"on_bio_queue", "on_bio_complete"};
const char* const kOfBeginnings[] = {"on_issue", "on_requeue", "on_bio_queue"};
const char* const kMaps[] = {"marks", "summary", "notes", "counters", "slots", "bios"};
// The compiler's name for what is constant, and ours: the file system takes no dots.
const char kConstants[] = ".rodata";
const char kTarget[] = "target";
constexpr uint32_t kMaxBios = 1 << 15;
constexpr uint64_t kSectorsPerWord = 64ull << (BLOCK_WRITES_SHIFT - 9);

Status failed(int error, const char* what) {
  if (error == EPERM || error == EACCES) {
    return Status::failure(Code::no_permission,
                           std::string(what) + ": it takes root, or CAP_BPF and CAP_PERFMON",
                           error);
  }
  if (error == ENOMEM) return Status::from_errno(error, what);
  return Status::failure(Code::unsupported,
                         std::string(what) + ": the kernel has no BTF, or not what it takes",
                         error);
}

uint64_t version() {
  uint64_t hash = 0;
  hash_blocks(kBlockWritesObject, sizeof kBlockWritesObject, sizeof kBlockWritesObject, &hash);
  return hash;
}

uint64_t words_of(const block_writes_target& target) {
  return (target.sectors + kSectorsPerWord - 1) / kSectorsPerWord;
}

uint64_t slots_of(const block_writes_target& target) {
  return std::max<uint64_t>(uint64_t{target.queues} * target.tags, 1);
}

uint64_t max_bios_of(const block_writes_target& target) {
  return target.queues == 0 ? kMaxBios : 1;
}

int set_size(bpf_object* object, const char* name, uint64_t entries) {
  bpf_map* map = bpf_object__find_map_by_name(object, name);
  return bpf_map__set_max_entries(map, static_cast<uint32_t>(entries));
}

int set_sizes(bpf_object* object, const block_writes_target& target) {
  uint64_t words = words_of(target);
  int error = set_size(object, "marks", words);
  if (error == 0) error = set_size(object, "summary", KernelMarks::summary_for(words));
  if (error == 0) error = set_size(object, "slots", slots_of(target));
  if (error == 0) error = set_size(object, "bios", max_bios_of(target));
  if (error != 0) return error;
  return bpf_map__set_initial_value(bpf_object__find_map_by_name(object, kConstants), &target,
                                    sizeof target);
}

int copy_of(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};

}  // namespace

// The programs that a disk of this kind takes; the others are not even loaded.
void BpfProgram::choose(bool bios) {
  for (const char* name : kOfRequests) {
    if (!bios) programs_.push_back({name, {}});
  }
  for (const char* name : kOfBios) {
    if (bios) programs_.push_back({name, {}});
  }
  for (const char* name : kMaps) maps_.push_back({name, {}});
  maps_.push_back({kTarget, {}});
}

Status BpfProgram::load(block_writes_target target, std::unique_ptr<BpfProgram>* program) {
  libbpf_set_print(nullptr);  // what is wrong goes into the status
  target.version = version();
  auto loaded = std::make_unique<BpfProgram>();
  loaded->choose(target.queues == 0);
  bpf_object_open_opts options = {};
  options.sz = sizeof options;
  options.object_name = "blockferry";
  std::unique_ptr<bpf_object, ObjectCloser> object(
      bpf_object__open_mem(kBlockWritesObject, sizeof kBlockWritesObject, &options));
  if (object == nullptr) return failed(errno, "read the program for the kernel");
  bpf_program* each = nullptr;
  bpf_object__for_each_program(each, object.get()) bpf_program__set_autoload(each, false);
  for (const Part& part : loaded->programs_) {
    each = bpf_object__find_program_by_name(object.get(), part.name.c_str());
    bpf_program__set_autoload(each, true);
  }
  int error = set_sizes(object.get(), target);
  if (error == 0) error = bpf_object__load(object.get());
  if (error != 0) return failed(-error, "load a program into the kernel");
  for (Part& part : loaded->programs_) {
    each = bpf_object__find_program_by_name(object.get(), part.name.c_str());
    part.fd.reset(copy_of(bpf_program__fd(each)));
    if (!part.fd.open()) return Status::from_errno(errno, "keep a program");
  }
  for (Part& part : loaded->maps_) {
    const char* name = part.name == kTarget ? kConstants : part.name.c_str();
    part.fd.reset(copy_of(bpf_object__find_map_fd_by_name(object.get(), name)));
    if (!part.fd.open()) return Status::from_errno(errno, "keep a map");
  }
  Status status = loaded->share(target);
  if (status.ok()) *program = std::move(loaded);
  return status;
}

Status BpfProgram::share(const block_writes_target& target) {
  uint64_t words = words_of(target);
  Status status = marks.map(map("marks"), words);
  if (status.ok()) status = summary.map(map("summary"), KernelMarks::summary_for(words));
  if (status.ok()) status = notes.map(map("notes"), BLOCK_WRITES_NOTES);
  if (status.ok()) status = counters.map(map("counters"), COUNTERS);
  if (status.ok()) status = slots_.map(map("slots"), slots_of(target));
  if (target.queues == 0) bios_ = map("bios");
  return status;
}

int BpfProgram::map(const std::string& name) const {
  for (const Part& part : maps_) {
    if (part.name == name) return part.fd.get();
  }
  return -1;
}

Status BpfProgram::attach() {
  for (const Part& program : programs_) {
    FileDescriptor link(bpf_raw_tracepoint_open(nullptr, program.fd.get()));
    if (!link.open()) return failed(errno, "attach to the block layer's tracepoints");
    links_.push_back({"link_" + program.name, std::move(link)});
  }
  return {};
}

Status BpfProgram::pin(const BpfPins& pins) const {
  for (const auto* parts : {&maps_, &programs_, &links_}) {
    for (const Part& part : *parts) {
      Status status = pins.add(part.name, part.fd.get());
      if (!status.ok()) return status;
    }
  }
  return {};
}

Status BpfProgram::find(const BpfPins& pins, block_writes_target target,
                        std::unique_ptr<BpfProgram>* program) {
  target.version = version();
  auto found = std::make_unique<BpfProgram>();
  found->choose(target.queues == 0);
  for (const Part& part : found->programs_) found->links_.push_back({"link_" + part.name, {}});
  for (auto* parts : {&found->maps_, &found->programs_, &found->links_}) {
    for (Part& part : *parts) {
      Status status = pins.get(part.name, &part.fd);
      if (!status.ok()) return status;
    }
  }
  uint32_t key = 0;
  block_writes_target theirs;
  if (bpf_map_lookup_elem(found->map(kTarget), &key, &theirs) != 0) {
    return Status::from_errno(errno, "read what a program watches");
  }
  if (memcmp(&theirs, &target, sizeof target) != 0) {
    return Status::failure(Code::not_found, "the program that is pinned watches something else");
  }
  Status status = found->share(target);
  if (status.ok()) *program = std::move(found);
  return status;
}

uint64_t BpfProgram::misses() const {
  uint64_t misses = 0;
  for (const Part& program : programs_) {
    if (std::ranges::find(kOfBeginnings, program.name) == std::end(kOfBeginnings)) continue;
    bpf_prog_info info = {};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program.fd.get(), &info, &size) == 0) {
      misses += info.recursion_misses;
    }
  }
  return misses;
}

void BpfProgram::flights(std::vector<Flight>* flights) const {
  flights->clear();
  for (uint64_t i = 0; bios_ < 0 && i < slots_.all().size(); i++) {
    if (uint64_t blocks = slots_[i].load()) flights->push_back({i, blocks});
  }
  if (bios_ < 0) return;
  std::vector<uint64_t> keys(kMaxBios), values(kMaxBios);
  uint32_t count = kMaxBios, batch = 0;
  int error =
      bpf_map_lookup_batch(bios_, nullptr, &batch, keys.data(), values.data(), &count, nullptr);
  if (error != 0 && errno != ENOENT) {  // ENOENT: that was all
    counters[COUNT_UNTOLD].fetch_add(1);
    return;
  }
  for (uint32_t i = 0; i < count; i++) flights->push_back({keys[i], values[i]});
}

void BpfProgram::forget(const Flight& flight) {
  uint64_t blocks = flight.blocks;
  if (bios_ >= 0) {
    bpf_map_delete_elem(bios_, &flight.key);
  } else {
    slots_[flight.key].compare_exchange_strong(blocks, 0);
  }
}

}  // namespace blockferry

#else

namespace blockferry {

Status BpfProgram::load(block_writes_target, std::unique_ptr<BpfProgram>*) {
  return Status::failure(Code::unsupported,
                         "blockferry was built without the bpf tap: that takes clang and libbpf");
}

Status BpfProgram::attach() { return {}; }
Status BpfProgram::pin(const BpfPins&) const { return {}; }
Status BpfProgram::find(const BpfPins&, block_writes_target, std::unique_ptr<BpfProgram>*) {
  return Status::failure(Code::not_found, "there is no bpf tap");
}
uint64_t BpfProgram::misses() const { return 0; }
void BpfProgram::flights(std::vector<Flight>*) const {}
void BpfProgram::forget(const Flight&) {}

}  // namespace blockferry

#endif
