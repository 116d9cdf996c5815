// measure COMMAND ARGUMENT…: runs a command and writes to descriptor 3, as one line of JSON, what
// it took: wall seconds, CPU seconds and the peak resident set of its largest process.
//
// The kernel's own accounting (getrusage) is read when the command and everything it left behind
// has ended, so short-lived and forked processes count in full. SIGTERM and SIGINT are passed on.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile pid_t child = -1;

static void pass_on(int signal) {
  if (child > 0) kill(child, signal);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

static double seconds(struct timeval time) {
  return time.tv_sec + time.tv_usec / 1e6;
}

static int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Waits for the command and for the orphans it left; answers the command's wait status.
static int wait_for_all(double* ended) {
  int command_status = 0;
  for (;;) {
    int status;
    pid_t pid = wait(&status);
    if (pid < 0 && errno == EINTR) continue;
    if (pid < 0) return command_status;
    if (pid == child) {
      command_status = status;
      *ended = now();
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  fcntl(3, F_SETFD, FD_CLOEXEC);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_PDEATHSIG, SIGTERM);  // nothing survives the benchmark
  signal(SIGTERM, pass_on);
  signal(SIGINT, pass_on);

  double started = now();
  double ended = started;
  child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    _exit(127);
  }
  int status = wait_for_all(&ended);

  struct rusage usage;
  getrusage(RUSAGE_CHILDREN, &usage);
  dprintf(3, "{\"seconds\":%.6f,\"cpuSeconds\":%.6f,\"peakMiB\":%.1f,\"exitCode\":%d}\n",
          ended - started, seconds(usage.ru_utime) + seconds(usage.ru_stime),
          usage.ru_maxrss / 1024.0, exit_code(status));
  return exit_code(status);
}
