#include "tap_wrap.h"

#include <algorithm>

#include "disk/disk_changes.h"
#include "disk/disk_users.h"
#include "disk/image_format.h"
#include "disk/range_hash.h"
#include "errors.h"
#include "loop.h"
#include "tap/watched_tap.h"
#include "values.h"

namespace blockferry::node {

namespace {

Status open_origin(const std::string& kind, uint64_t size, const FileOriginOptions& file, bool raw,
                   std::unique_ptr<Origin>* origin) {
  if (kind == "memory") {
    *origin = make_memory_origin(size);
    return {};
  }
  if (kind == "null") {
    *origin = make_null_origin(size);
    return {};
  }
  Status status = open_file_origin(file, origin);
  return status.ok() && !raw ? check_raw(**origin) : status;
}

// Null without a map file.
Status open_tracking(const std::string& path, uint32_t block_size, Origin& origin,
                     std::shared_ptr<Tracking>* tracking) {
  if (path.empty()) return {};
  return Tracking::open(path, origin, block_size, tracking);
}

ThrottleLimits read_limits(const Napi::Object& options) {
  ThrottleLimits limits;
  limits.bytes_per_second = number_or(options, "bytesPerSecond", 0);
  limits.writes_per_second = number_or(options, "writesPerSecond", 0);
  limits.burst_bytes = number_or(options, "burstBytes", 0);
  limits.burst_writes = number_or(options, "burstWrites", 0);
  Napi::Value steps = options.Get("steps");
  if (!steps.IsArray()) return limits;
  auto list = steps.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    Napi::Object step = list.Get(i).As<Napi::Object>();
    limits.steps.push_back(
        {uint_or(step, "afterWrites", 0), static_cast<uint32_t>(uint_or(step, "delayUs", 0))});
  }
  return limits;
}

}  // namespace

void TapWrap::install(Napi::Env env, Napi::Object exports) {
  Napi::Function constructor =
      DefineClass(env, "Tap",
                  {
                      InstanceMethod<&TapWrap::describe>("describe"),
                      InstanceMethod<&TapWrap::state>("state"),
                      InstanceMethod<&TapWrap::track>("track"),
                      InstanceMethod<&TapWrap::untrack>("untrack"),
                      InstanceMethod<&TapWrap::mark>("mark"),
                      InstanceMethod<&TapWrap::claim>("claim"),
                      InstanceMethod<&TapWrap::dirty>("dirty"),
                      InstanceMethod<&TapWrap::remembered>("remembered"),
                      InstanceMethod<&TapWrap::set_throttle>("setThrottle"),
                      InstanceMethod<&TapWrap::begin_round>("beginRound"),
                      InstanceMethod<&TapWrap::hold>("hold"),
                      InstanceMethod<&TapWrap::refuse>("refuse"),
                      InstanceMethod<&TapWrap::open>("open"),
                      InstanceMethod<&TapWrap::drain>("drain"),
                      InstanceMethod<&TapWrap::may_lose_disk>("mayLoseDisk"),
                      InstanceMethod<&TapWrap::delay_writes>("delayWrites"),
                      InstanceMethod<&TapWrap::check_watch>("checkWatch"),
                      InstanceMethod<&TapWrap::begin_again>("beginAgain"),
                      InstanceMethod<&TapWrap::witness>("witness"),
                      InstanceMethod<&TapWrap::set_size>("setSize"),
                      InstanceMethod<&TapWrap::allocate>("allocate"),
                      InstanceMethod<&TapWrap::flush>("flush"),
                      InstanceMethod<&TapWrap::watch_opens>("watchOpens"),
                      InstanceMethod<&TapWrap::unwatch_opens>("unwatchOpens"),
                      InstanceMethod<&TapWrap::opens>("opens"),
                      InstanceMethod<&TapWrap::check_no_writer>("checkNoWriter"),
                      InstanceMethod<&TapWrap::recent>("recent"),
                      InstanceMethod<&TapWrap::hashes>("hashes"),
                      InstanceMethod<&TapWrap::stats>("stats"),
                      InstanceMethod<&TapWrap::close>("close"),
                  });
  Loop::of(env)->keep_constructor("Tap", constructor);
  exports.Set("openTap", Napi::Function::New<&TapWrap::open_tap>(env, "openTap"));
  exports.Set("checkBpf", Napi::Function::New<&TapWrap::check_bpf>(env, "checkBpf"));
  exports.Set("checkDm", Napi::Function::New<&TapWrap::check_dm>(env, "checkDm"));
  exports.Set("checkDmDelay", Napi::Function::New<&TapWrap::check_dm_delay>(env, "checkDmDelay"));
}

TapWrap::TapWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<TapWrap>(info),
      tap_(*info[0].As<Napi::External<std::shared_ptr<Tap>>>().Data()) {
  Ref();  // open until it is closed, also when nobody keeps it: it is under writers
}

std::shared_ptr<Tap> TapWrap::tap_of(const Napi::Value& value) {
  auto tap = Unwrap(value.As<Napi::Object>())->tap_;
  if (!tap) throw make_error(value.Env(), Status::failure(Code::closed, "the tap is closed"));
  return tap;
}

static Holes holes_of(const std::string& name) {
  if (name == "trust") return Holes::trust;
  return name == "read" ? Holes::read : Holes::automatic;
}

Napi::Value TapWrap::open_tap(const Napi::CallbackInfo& info) {
  Napi::Object options = info[0].As<Napi::Object>();
  FileOriginOptions file;
  file.path = string_or(options, "path", "");
  file.read_only = bool_or(options, "readOnly", false);
  file.direct = bool_or(options, "direct", false);
  file.create_size = uint_or(options, "createSize", 0);
  file.force = bool_or(options, "force", false);
  file.holes = holes_of(string_or(options, "holes", "auto"));
  bool raw = bool_or(options, "raw", false);
  std::string kind = string_or(options, "kind", "file");
  uint64_t size = uint_or(options, "size", 0);
  uint64_t disk_size = uint_or(options, "diskSize", 0);
  std::string map = string_or(options, "map", "");
  std::string metadata = string_or(options, "metadata", "");
  bool delays = bool_or(options, "delays", false);
  auto block_size = static_cast<uint32_t>(uint_or(options, "blockSize", 4096));
  auto tap = std::make_shared<std::shared_ptr<Tap>>();
  return Loop::of(info.Env())
      ->run(
          [=] {
            if (kind == "bpf") return open_bpf_tap(file.path, map, block_size, tap.get());
            if (kind == "dm") return open_dm_tap(file.path, metadata, delays, tap.get());
            std::unique_ptr<Origin> origin;
            std::shared_ptr<Tracking> tracking;
            Status status = open_origin(kind, size, file, raw, &origin);
            if (status.ok() && disk_size != 0) status = origin->set_size(disk_size);
            if (status.ok()) status = open_tracking(map, block_size, *origin, &tracking);
            if (status.ok()) *tap = std::make_shared<Tap>(std::move(origin), tracking);
            return status;
          },
          [tap](Napi::Env env) -> Napi::Value {
            auto data = Napi::External<std::shared_ptr<Tap>>::New(env, tap.get());
            return Loop::of(env)->construct("Tap", data);
          });
}

Napi::Value TapWrap::check_bpf(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  return Loop::of(info.Env())->run([path] { return check_bpf_watch(path); });
}

Napi::Value TapWrap::check_dm(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  return Loop::of(info.Env())->run([path] { return check_dm_watch(path); });
}

Napi::Value TapWrap::check_dm_delay(const Napi::CallbackInfo& info) {
  std::string path = info[0].As<Napi::String>().Utf8Value();
  return Loop::of(info.Env())->run([path] { return blockferry::check_dm_delay(path); });
}

Tap& TapWrap::tap(const Napi::CallbackInfo& info) {
  if (!tap_) throw make_error(info.Env(), Status::failure(Code::closed, "the tap is closed"));
  return *tap_;
}

DirtyMap& TapWrap::map(const Napi::CallbackInfo& info) {
  auto tracking = tap(info).tracking();
  if (!tracking) {
    throw make_error(info.Env(), Status::failure(Code::invalid, "the tap does not track"));
  }
  return tracking->dirty();  // the tap keeps it: only this thread replaces it
}

Napi::Value TapWrap::describe(const Napi::CallbackInfo& info) {
  Origin& origin = tap(info).origin();
  Napi::Object object = make_object(info.Env(), {{"size", origin.size()},
                                                 {"capacity", origin.capacity()},
                                                 {"alignment", origin.alignment()}});
  object.Set("name", origin.name());
  object.Set("readOnly", origin.read_only());
  object.Set("blank", origin.blank());
  object.Set("created", origin.created());
  object.Set("descriptor", origin.descriptor());
  auto tracking = tap(info).keeps_tracking() ? tap(info).tracking() : nullptr;
  object.Set("mapBlockSize", tracking ? tracking->dirty().block_size() : 0);
  return object;
}

Napi::Value TapWrap::state(const Napi::CallbackInfo& info) {
  static const char* const kNames[] = {"open", "holding", "refusing"};
  return Napi::String::New(info.Env(), kNames[static_cast<int>(tap(info).state())]);
}

void TapWrap::track(const Napi::CallbackInfo& info) {
  auto block_size = static_cast<uint32_t>(to_uint(info[0]));
  tap(info).track(std::make_shared<Tracking>(tap(info).origin().size(), block_size));
}

void TapWrap::untrack(const Napi::CallbackInfo& info) { tap(info).track(nullptr); }

void TapWrap::mark(const Napi::CallbackInfo& info) {
  map(info).mark(to_uint(info[0]), to_uint(info[1]));
}

// Whoever takes blocks here sends them where no hash is kept: what is clean then is no longer known.
Napi::Value TapWrap::claim(const Napi::CallbackInfo& info) {
  DirtyMap& map = this->map(info);
  tap(info).forget();
  uint64_t from = to_uint(info[0]) / map.block_size();
  uint64_t limit = std::max<uint64_t>(to_uint(info[1]) / map.block_size(), 1);
  auto run = map.claim(from, map.blocks(), limit);
  if (!run) return info.Env().Null();
  uint64_t offset = run->first * map.block_size();
  uint64_t length = std::min(run->count * map.block_size(), map.size() - offset);
  return make_object(info.Env(), {{"offset", offset}, {"length", length}});
}

Napi::Value TapWrap::remembered(const Napi::CallbackInfo& info) {
  auto tracking = tap(info).tracking();
  uint64_t blocks = tracking ? tracking->remembered() : 0;
  uint64_t block_size = tracking ? tracking->dirty().block_size() : 0;
  uint64_t bytes = std::min(blocks * block_size, tap(info).origin().size());
  return Napi::Number::New(info.Env(), static_cast<double>(bytes));
}

Napi::Value TapWrap::dirty(const Napi::CallbackInfo& info) {
  DirtyMap& map = this->map(info);
  return Napi::Number::New(info.Env(), static_cast<double>(map.count() * map.block_size()));
}

void TapWrap::set_throttle(const Napi::CallbackInfo& info) {
  tap(info).set_throttle(read_limits(info[0].As<Napi::Object>()));
}

void TapWrap::begin_round(const Napi::CallbackInfo& info) { tap(info).begin_round(); }
void TapWrap::hold(const Napi::CallbackInfo& info) { tap(info).hold(); }
void TapWrap::refuse(const Napi::CallbackInfo& info) { tap(info).refuse(); }
void TapWrap::open(const Napi::CallbackInfo& info) { tap(info).open(); }

Napi::Value TapWrap::drain(const Napi::CallbackInfo& info) {
  tap(info);
  auto limit = std::chrono::milliseconds(to_uint(info[0]));
  return Loop::of(info.Env())->run([tap = tap_, limit] { return tap->drain(limit); });
}

Napi::Value TapWrap::may_lose_disk(const Napi::CallbackInfo& info) {
  tap(info);
  return Loop::of(info.Env())->run([tap = tap_] { return tap->may_lose_disk(); });
}

Napi::Value TapWrap::delay_writes(const Napi::CallbackInfo& info) {
  tap(info);
  auto ms = static_cast<unsigned>(to_uint(info[0]));
  return Loop::of(info.Env())->run([tap = tap_, ms] { return tap->delay_writes(ms); });
}

void TapWrap::check_watch(const Napi::CallbackInfo& info) {
  if (WriteWatch* watch = tap(info).watch()) throw_unless_ok(info.Env(), watch->check());
}

Napi::Value TapWrap::begin_again(const Napi::CallbackInfo& info) {
  tap(info);
  return Loop::of(info.Env())->run([tap = tap_] { return tap->begin_again(); });
}

// witness(isFirst): a word that is another when the disk has been changed since the first; empty where that
// can't be told.
Napi::Value TapWrap::witness(const Napi::CallbackInfo& info) {
  tap(info);
  auto state = std::make_shared<DiskState>();
  return Loop::of(info.Env())
      ->run(
          [tap = tap_, state, is_first = info[0].ToBoolean().Value()] {
            *state = is_first ? settled_state_of(tap->origin()) : state_of(tap->origin());
            return Status{};
          },
          [state](Napi::Env env) -> Napi::Value {
            std::string word =
                std::to_string(state->changed_ns) + ":" + std::to_string(state->sectors);
            return Napi::String::New(env, state->known ? word : "");
          });
}

void TapWrap::set_size(const Napi::CallbackInfo& info) {
  throw_unless_ok(info.Env(), tap(info).set_size(to_uint(info[0])));
}

Napi::Value TapWrap::allocate(const Napi::CallbackInfo& info) {
  tap(info);
  return Loop::of(info.Env())->run([tap = tap_] { return tap->origin().allocate(); });
}

Napi::Value TapWrap::flush(const Napi::CallbackInfo& info) {
  tap(info);
  return Loop::of(info.Env())->run([tap = tap_] { return tap->origin().flush(); });
}

// watchOpens(): false where it can't be told who opens it.
Napi::Value TapWrap::watch_opens(const Napi::CallbackInfo& info) {
  int descriptor = tap(info).origin().descriptor();
  opens_ = descriptor >= 0 ? OpenWatch::on(descriptor) : nullptr;
  return Napi::Boolean::New(info.Env(), opens_ != nullptr);
}

void TapWrap::unwatch_opens(const Napi::CallbackInfo&) { opens_.reset(); }

// opens(): since the last call, or watchOpens().
Napi::Value TapWrap::opens(const Napi::CallbackInfo& info) {
  OpenWatch::Seen seen = opens_ ? opens_->seen() : OpenWatch::Seen{};
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("opened", seen.opened);
  object.Set("written", seen.written);
  object.Set("watched", opens_ != nullptr);
  return object;
}

Napi::Value TapWrap::check_no_writer(const Napi::CallbackInfo& info) {
  tap(info);
  return Loop::of(info.Env())->run([tap = tap_] {
    Origin& origin = tap->origin();
    return origin.descriptor() < 0
               ? Status{}
               : blockferry::check_no_writer(origin.descriptor(), origin.name());
  });
}

// recent(): the offsets of blocks that were written last.
Napi::Value TapWrap::recent(const Napi::CallbackInfo& info) {
  DirtyMap& map = this->map(info);
  std::vector<uint64_t> blocks = map.recent();
  Napi::Array offsets = Napi::Array::New(info.Env(), blocks.size());
  for (uint32_t i = 0; i < blocks.size(); i++) {
    offsets.Set(i, static_cast<double>(blocks[i] * map.block_size()));
  }
  return offsets;
}

// hashes(ranges, pastCache): of { offset, length } each; empty for what can't be read past the cache.
Napi::Value TapWrap::hashes(const Napi::CallbackInfo& info) {
  tap(info);
  std::vector<ByteRange> ranges;
  Napi::Array list = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); i++) {
    Napi::Object range = list.Get(i).As<Napi::Object>();
    ranges.push_back({uint_or(range, "offset", 0), uint_or(range, "length", 0)});
  }
  bool past_cache = info[1].ToBoolean().Value();
  auto hashes = std::make_shared<std::vector<std::optional<uint64_t>>>();
  return Loop::of(info.Env())
      ->run(
          [=, tap = tap_] { return hash_ranges(tap->origin(), ranges, past_cache, hashes.get()); },
          [hashes](Napi::Env env) -> Napi::Value {
            Napi::Array texts = Napi::Array::New(env, hashes->size());
            for (uint32_t i = 0; i < hashes->size(); i++) {
              auto hash = hashes->at(i);
              texts.Set(i, hash ? make_digest(env, *hash) : Napi::String::New(env, ""));
            }
            return texts;
          });
}

Napi::Value TapWrap::stats(const Napi::CallbackInfo& info) {
  TapStats stats = tap(info).stats();
  Napi::Object object = make_object(info.Env(), {{"writes", stats.writes},
                                                 {"writtenBytes", stats.written_bytes},
                                                 {"uniqueDirtyBlocks", stats.unique_dirty},
                                                 {"writesDelayed", stats.writes_delayed},
                                                 {"delayUs", stats.delay_us},
                                                 {"holdUs", stats.hold_us},
                                                 {"reads", stats.reads},
                                                 {"readBytes", stats.read_bytes},
                                                 {"flushes", stats.flushes}});
  Napi::Array latency = Napi::Array::New(info.Env(), TapStats::kBuckets);
  for (uint32_t i = 0; i < TapStats::kBuckets; i++) {
    latency.Set(i, static_cast<double>(stats.latency[i]));
  }
  object.Set("latency", latency);
  return object;
}

// On a thread of ours: a tap in the kernel takes its time to go.
Napi::Value TapWrap::close(const Napi::CallbackInfo& info) {
  if (tap_) Unref();
  return Loop::of(info.Env())->finish([tap = std::move(tap_)]() mutable { tap.reset(); });
}

}  // namespace blockferry::node
