// blockferry-watchdog MAJOR:MINOR: see watchdog.h. Its words come on descriptor 0.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <vector>

#include "tap/dm/watchdog.h"

using namespace blockferry;

// Short of memory, the kernel should take another: a suspended device would never go on.
static void stay_alive() {
  mlockall(MCL_CURRENT | MCL_FUTURE);
  int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (score >= 0 && write(score, "-1000", 5) < 0) perror("oom_score_adj");
  if (score >= 0) close(score);
}

// It ends with the other process, or is killed: what asks a whole group of processes to end (a
// terminal, a service manager) means the other one.
static void stay() {
  for (int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGQUIT}) signal(number, SIG_IGN);
}

int main(int count, char** arguments) {
  unsigned major = 0, minor = 0;
  if (count != 2 || sscanf(arguments[1], "%u:%u", &major, &minor) != 2) return 2;
  syscall(SYS_close_range, 3u, ~0u, 0u);  // what the other process has left open
  stay();
  stay_alive();
  DmDevice device(major, minor);
  // Whatever is needed later is loaded and opened now.
  DmInfo info;
  DmTable table;
  if (!device.info(&info).ok() || !device.table(&table).ok()) return 1;
  wipe(&table);
  DmWord ready = DmWord::ready;
  if (write(0, &ready, 1) != 1) return 1;
  stand_by(device, 0);
}
