/* A writer that wants all that the disk can do, in a process of its own. */

#define _GNU_SOURCE
#include "service.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { block_size = 4096 };

static pid_t writer = 0;
static unsigned long long *written; /* shared with the writer */

static void pace(const struct timespec *start, unsigned long long writes,
                 unsigned long long rate) {
  const unsigned long long due = writes * 1000000000ULL / rate;
  struct timespec until = {.tv_sec = start->tv_sec + (time_t)(due / 1000000000),
                           .tv_nsec = start->tv_nsec + (long)(due % 1000000000)};
  if (until.tv_nsec >= 1000000000) {
    until.tv_sec++;
    until.tv_nsec -= 1000000000;
  }
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

_Noreturn static void write_on(int file, uint64_t blocks, unsigned long long rate, bool sync) {
  uint64_t *block = aligned_alloc(block_size, block_size);
  struct timespec start;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (unsigned long long writes = 0; block != NULL; writes++) {
    if (rate > 0) pace(&start, writes, rate);
    for (size_t i = 0; i < block_size / sizeof *block; i++) block[i] = random_number();
    const off_t at = (off_t)(random_number() % blocks) * block_size;
    if (pwrite(file, block, block_size, at) != block_size) break;
    if (sync && fdatasync(file) != 0) break;
    __atomic_add_fetch(written, 1, __ATOMIC_RELAXED);
  }
  _exit(1);
}

bool stress_start(const char *path, unsigned long long mebibytes, unsigned long long rate,
                  bool sync) {
  stress_stop();
  stress_count(); /* the counter must be there before the fork */
  const int file = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0644);
  const off_t size = (off_t)mebibytes << 20;
  if (file < 0) return false;
  const bool is_ready = size > 0 && posix_fallocate(file, 0, size) == 0;
  if (is_ready) writer = fork();
  if (is_ready && writer == 0) write_on(file, (uint64_t)size / block_size, rate, sync);
  close(file);
  return is_ready && writer > 0;
}

void stress_stop(void) {
  if (writer <= 0) return;
  kill(writer, SIGKILL);
  waitpid(writer, NULL, 0);
  writer = 0;
}

unsigned long long stress_count(void) {
  if (written == NULL) {
    written = mmap(NULL, sizeof *written, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                   0);
    if (written == MAP_FAILED) abort();
  }
  return __atomic_load_n(written, __ATOMIC_RELAXED);
}
