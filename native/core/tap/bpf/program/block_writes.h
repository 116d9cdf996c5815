/* What the program in the kernel and the core share. Plain C: both include it. */
#pragma once

/* One bit in `marks` per 4 KiB of what is watched. */
#define BLOCK_WRITES_SHIFT 12

/* A slot holds the blocks of a write in flight in one word, 0 when there is none: a reader in user
 * space never sees half of a change. */
#define BLOCK_WRITES_COUNT_BITS 24
#define BLOCK_WRITES_COUNT_MASK ((1ull << BLOCK_WRITES_COUNT_BITS) - 1)

/* A bit of `summary` stands for a group of so many words of `marks`. */
#define BLOCK_WRITES_GROUP 64

/* Words that can be on their way from `marks` to the dirty map at once: two words of `summary`. */
#define BLOCK_WRITES_NOTES (2 * 64 * BLOCK_WRITES_GROUP)

/* What is watched: a disk by its number, and the part of it that is ours, in sectors. Programs
 * whose targets are the same, byte by byte, watch the same in the same way. */
struct block_writes_target {
  unsigned major, minor;
  unsigned long long start, sectors;
  unsigned queues, tags;       /* of each hardware queue; none: the disk takes bios */
  unsigned long long sequence; /* tells the disk from others that had its number before */
  unsigned long long version;  /* a hash of this program */
};

enum block_writes_counter {
  COUNT_SECTORS, /* issued on the whole disk and not taken back */
  COUNT_WRITES,  /* issued to the part that is watched */
  COUNT_BYTES,   /* of those */
  COUNT_UNTOLD,  /* commands that may write, one can't tell where */
  /* The program does not know of these: what has to outlive the process that uses it. */
  KEPT_BALANCE, /* of the account when it began, see tap/bpf/write_account.h */
  KEPT_MISSES,
  KEPT_UNTOLD,
  KEPT_TOKEN, /* which map file goes with it */
  COUNTERS
};
