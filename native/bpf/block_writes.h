/* What the program in the kernel and the core share. Plain C: both include it. */
#pragma once

/* One bit in `marks` per 4 KiB of what is watched. */
#define BLOCK_WRITES_SHIFT 12

/* A slot holds the blocks of a write in flight in one word, 0 when there is none: a reader in user
 * space never sees half of a change. */
#define BLOCK_WRITES_COUNT_BITS 24
#define BLOCK_WRITES_COUNT_MASK ((1ull << BLOCK_WRITES_COUNT_BITS) - 1)

/* What is watched: a disk by its number, and the part of it that is ours, in sectors. */
struct block_writes_target {
  unsigned major, minor;
  unsigned long long start, sectors;
  unsigned tags; /* of each hardware queue */
};

enum block_writes_counter {
  COUNT_SECTORS,   /* issued on the whole disk and not taken back */
  COUNT_WRITES,    /* issued to the part that is watched */
  COUNT_BYTES,     /* of those */
  COUNT_UNTOLD,    /* commands that may write, one can't tell where */
  COUNTERS
};
