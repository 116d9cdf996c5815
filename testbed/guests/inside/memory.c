/* A program that dirties memory, in a process of its own. */

#define _GNU_SOURCE
#include "service.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { page_size = 4096, steps_per_second = 100 };

static pid_t writer = 0;

static void dirty(uint64_t *page) {
  for (size_t i = 0; i < page_size / sizeof *page; i++) page[i] = random_number();
}

/* Page after page, around and around; in steps, so that a rate takes few system calls. */
_Noreturn static void dirty_on(uint8_t *memory, uint64_t pages, unsigned long long rate) {
  const struct timespec step = {.tv_nsec = 1000000000 / steps_per_second};
  for (uint64_t done = 0;; done++) {
    dirty((uint64_t *)(memory + done % pages * page_size));
    if (rate > 0 && done % (rate / steps_per_second + 1) == 0) nanosleep(&step, NULL);
  }
}

bool memory_start(unsigned long long mebibytes, unsigned long long rate) {
  memory_stop();
  const size_t size = (size_t)mebibytes << 20;
  if (size == 0) return false;
  uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return false;
  writer = fork();
  if (writer == 0) dirty_on(memory, size / page_size, rate);
  munmap(memory, size);
  return writer > 0;
}

void memory_stop(void) {
  if (writer <= 0) return;
  kill(writer, SIGKILL);
  waitpid(writer, NULL, 0);
  writer = 0;
}
