// writer DEVICE LOG NUMBER COUNT PAUSE SPAN
//
// One of COUNT writers of a disk: writes a block chosen at random among its own, waits until that is
// acknowledged, and only then logs it. Then again, PAUSE microseconds later. Now and then it discards
// blocks instead, if the disk can. What a block holds says which write it was: its number, counted
// from 1, over and over, with the block's. SPAN: how many blocks of the disk are written to, 0 for all.
// A record of the log: the block, and how many were discarded, 0 for a write; the number of the
// write is that of the record. ../writes.ts reads it.

#define _GNU_SOURCE // O_DIRECT

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { block_size = 4096, discard_every = 64, discard_most = 16 };

struct record {
  uint32_t block, discarded;
};

static volatile sig_atomic_t is_stopped;

static void stop(int signal) {
  (void)signal;
  is_stopped = 1;
}

static void fail(const char *what) {
  printf("guest: the writer failed: %s: %s\n", what, strerror(errno));
  fflush(stdout);
  exit(1);
}

static uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static void write_block(int device, uint64_t *buffer, uint64_t sequence, uint64_t block) {
  for (size_t i = 0; i < block_size / 8; i += 2) {
    buffer[i] = sequence;
    buffer[i + 1] = block;
  }
  if (pwrite(device, buffer, block_size, block * block_size) != block_size) fail("write");
  if (sequence % 16 == 0 && fdatasync(device) != 0) fail("fdatasync");
}

// Whether it was done.
static int discard(int device, uint64_t block, uint64_t count) {
  uint64_t range[2] = {block * block_size, count * block_size};
  if (ioctl(device, BLKDISCARD, range) == 0) return 1;
  if (errno != EOPNOTSUPP) fail("discard");
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  int device = open(argv[1], O_RDWR | O_DIRECT);
  int log = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0644);
  uint64_t number = strtoull(argv[3], 0, 10), writers = strtoull(argv[4], 0, 10), size;
  useconds_t pause_us = strtoul(argv[5], 0, 10);
  uint64_t span = strtoull(argv[6], 0, 10);
  if (device < 0 || log < 0 || ioctl(device, BLKGETSIZE64, &size) != 0) fail(argv[1]);
  uint64_t *buffer;
  if (posix_memalign((void **)&buffer, block_size, block_size) != 0) return 1;
  struct sigaction action = {.sa_handler = stop};
  sigaction(SIGTERM, &action, 0);
  // Each has blocks in a row to itself, for a discard takes several.
  uint64_t blocks = (span == 0 ? size / block_size : span) / writers;
  uint64_t first = (number - 1) * blocks, state = 88172645463325252ull + number;
  int discards = blocks > 2 * discard_most;
  for (uint64_t sequence = 1; !is_stopped; sequence++) {
    struct record record = {0, 0};
    uint64_t at = next_random(&state);
    if (discards && sequence % discard_every == 0) {
      record.discarded = 1 + at % discard_most;
      record.block = first + next_random(&state) % (blocks - record.discarded);
      discards = discard(device, record.block, record.discarded);
    }
    if (record.discarded == 0 || !discards) {
      record = (struct record){first + at % blocks, 0};
      write_block(device, buffer, sequence, record.block);
    }
    if (write(log, &record, sizeof record) != sizeof record) fail("log");
    if (pause_us > 0) usleep(pause_us);
  }
  return 0;
}
