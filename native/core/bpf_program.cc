#include "bpf_program.h"

#include <sys/mman.h>

#include <cerrno>

#ifdef BLOCKFERRY_HAVE_BPF

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>

#include "block_writes_object.h"

namespace blockferry {

namespace {

const char* const kOfRequests[] = {"on_issue", "on_complete", "on_requeue"};
const char* const kOfBios[] = {"on_bio_queue", "on_bio_complete"};
constexpr uint32_t kMaxBios = 1 << 15;

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

bpf_map* find_map(bpf_object* object, const char* name) {
  return bpf_object__find_map_by_name(object, name);
}

int set_size(bpf_object* object, const char* name, uint64_t entries) {
  return bpf_map__set_max_entries(find_map(object, name), static_cast<uint32_t>(entries));
}

// The programs that a disk of this kind takes; the others are not even loaded.
void choose(bpf_object* object, bool bios, std::vector<const char*>* names) {
  for (const char* name : kOfRequests) {
    bpf_program__set_autoload(bpf_object__find_program_by_name(object, name), !bios);
    if (!bios) names->push_back(name);
  }
  for (const char* name : kOfBios) {
    bpf_program__set_autoload(bpf_object__find_program_by_name(object, name), bios);
    if (bios) names->push_back(name);
  }
}

Status map_words(bpf_object* object, const char* name, SharedWords* words) {
  bpf_map* map = find_map(object, name);
  return words->map(bpf_map__fd(map), bpf_map__max_entries(map));
}

}  // namespace

Status BpfProgram::load(const block_writes_target& target, uint64_t words, uint64_t slots,
                        std::unique_ptr<BpfProgram>* program) {
  libbpf_set_print(nullptr);  // what is wrong goes into the status
  auto loaded = std::make_unique<BpfProgram>();
  bpf_object_open_opts options = {};
  options.sz = sizeof options;
  options.object_name = "blockferry";
  bpf_object* object =
      bpf_object__open_mem(kBlockWritesObject, sizeof kBlockWritesObject, &options);
  if (object == nullptr) return failed(errno, "read the program for the kernel");
  loaded->object_ = object;
  loaded->max_bios_ = slots == 0 ? kMaxBios : 1;
  choose(object, slots == 0, &loaded->names_);
  int error = set_size(object, "marks", words);
  if (error == 0) error = set_size(object, "slots", std::max<uint64_t>(slots, 1));
  if (error == 0) error = set_size(object, "bios", loaded->max_bios_);
  if (error == 0) {
    error = bpf_map__set_initial_value(find_map(object, ".rodata"), &target, sizeof target);
  }
  if (error == 0) error = bpf_object__load(object);
  if (error != 0) return failed(-error, "load a program into the kernel");
  Status status = map_words(object, "marks", &loaded->marks);
  if (status.ok()) status = map_words(object, "slots", &loaded->slots_);
  if (status.ok()) status = map_words(object, "counters", &loaded->counters);
  if (slots == 0) loaded->bios_ = bpf_map__fd(find_map(object, "bios"));
  if (status.ok()) *program = std::move(loaded);
  return status;
}

BpfProgram::~BpfProgram() {
  for (bpf_link* link : links_) bpf_link__destroy(link);
  bpf_object__close(object_);
}

Status BpfProgram::attach() {
  for (const char* name : names_) {
    bpf_link* link = bpf_program__attach(bpf_object__find_program_by_name(object_, name));
    if (link == nullptr) return failed(errno, "attach to the block layer's tracepoints");
    links_.push_back(link);
  }
  return {};
}

uint64_t BpfProgram::misses() const {
  uint64_t misses = 0;
  for (const char* name : names_) {
    bpf_prog_info info = {};
    uint32_t size = sizeof info;
    int fd = bpf_program__fd(bpf_object__find_program_by_name(object_, name));
    if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0) misses += info.recursion_misses;
  }
  return misses;
}

void BpfProgram::flights(std::vector<Flight>* flights) const {
  flights->clear();
  for (uint64_t i = 0; bios_ < 0 && i < slots_.size(); i++) {
    if (uint64_t blocks = slots_[i].load()) flights->push_back({i, blocks});
  }
  if (bios_ < 0) return;
  std::vector<uint64_t> keys(max_bios_), values(max_bios_);
  auto count = static_cast<uint32_t>(max_bios_);
  uint32_t batch = 0;
  int error = bpf_map_lookup_batch(bios_, nullptr, &batch, keys.data(), values.data(), &count,
                                   nullptr);
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

Status BpfProgram::load(const block_writes_target&, uint64_t, uint64_t,
                        std::unique_ptr<BpfProgram>*) {
  return Status::failure(Code::unsupported,
                         "blockferry was built without the bpf tap: that takes clang and libbpf");
}

BpfProgram::~BpfProgram() = default;
Status BpfProgram::attach() { return {}; }
uint64_t BpfProgram::misses() const { return 0; }
void BpfProgram::flights(std::vector<Flight>*) const {}
void BpfProgram::forget(const Flight&) {}

}  // namespace blockferry

#endif

namespace blockferry {

SharedWords::~SharedWords() {
  if (words_ != nullptr) munmap(words_, count_ * sizeof(uint64_t));
}

Status SharedWords::map(int fd, uint64_t count) {
  void* memory =
      mmap(nullptr, count * sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) return Status::from_errno(errno, "map what the kernel shares");
  words_ = static_cast<std::atomic<uint64_t>*>(memory);
  count_ = count;
  return {};
}

}  // namespace blockferry
