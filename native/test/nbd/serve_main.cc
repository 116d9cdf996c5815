// nbd_serve FILE|memory:BYTES|null:BYTES SOCKET|HOST:PORT [--track] [--direct] [--read-only]
//
// Serves one disk over NBD, without Node, until SIGINT or SIGTERM: for real clients, sanitizers
// and profilers. The file is not locked, so that several servers can be measured on it.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "nbd/server.h"

using namespace blockferry;

namespace {

[[noreturn]] void fail(const Status& status) {
  fprintf(stderr, "nbd_serve: %s: %s\n", code_name(status.code), status.operation.c_str());
  exit(1);
}

std::unique_ptr<Origin> open_origin(const std::string& source, bool direct, bool read_only) {
  uint64_t size = strtoull(source.substr(source.find(':') + 1).c_str(), nullptr, 0);
  if (source.starts_with("memory:")) return make_memory_origin(size);
  if (source.starts_with("null:")) return make_null_origin(size);
  FileOriginOptions options;
  options.path = source;
  options.direct = direct;
  options.read_only = read_only;
  options.lock = false;
  std::unique_ptr<Origin> origin;
  Status status = open_file_origin(options, &origin);
  if (!status.ok()) fail(status);
  return origin;
}

ListenAddress parse_address(const std::string& text) {
  auto colon = text.rfind(':');
  if (colon == std::string::npos) return {text, "", 0};
  return {"", text.substr(0, colon), static_cast<uint16_t>(atoi(text.c_str() + colon + 1))};
}

void print(const TapStats& stats) {
  printf("writes %lu bytes %lu unique dirty %lu delayed %lu by %lu us, reads %lu flushes %lu\n",
         stats.writes, stats.written_bytes, stats.unique_dirty, stats.writes_delayed,
         stats.delay_us, stats.reads, stats.flushes);
  for (int i = 0; i < TapStats::kBuckets; i++) {
    if (stats.latency[i] > 0) printf("  from %7lu us: %lu\n", 1ul << i, stats.latency[i]);
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool track = false, direct = false, read_only = false;
  for (int i = 3; i < argc; i++) {
    track |= strcmp(argv[i], "--track") == 0;
    direct |= strcmp(argv[i], "--direct") == 0;
    read_only |= strcmp(argv[i], "--read-only") == 0;
  }
  if (argc < 3) {
    fprintf(stderr, "usage: nbd_serve FILE SOCKET|HOST:PORT [--track] [--direct] [--read-only]\n");
    return 2;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  sigprocmask(SIG_BLOCK, &ends, nullptr);

  auto tap = std::make_shared<Tap>(open_origin(argv[1], direct, read_only));
  if (track) tap->track(std::make_shared<Tracking>(tap->origin().size(), 4096));
  NbdServer server;
  ListenAddress bound;
  Status status = server.add_export({"disk", "served by nbd_serve", read_only, tap});
  if (status.ok()) status = server.listen(parse_address(argv[2]), &bound);
  if (!status.ok()) fail(status);
  printf("serving on %s%s:%u\n", bound.unix_path.c_str(), bound.host.c_str(), bound.port);
  fflush(stdout);
  int signal;
  sigwait(&ends, &signal);
  server.close();
  print(tap->stats());
  auto served = server.stats();
  printf("accepted %lu refused %lu protocol errors %lu\n", served.accepted, served.refused,
         served.protocol_errors);
  return 0;
}
