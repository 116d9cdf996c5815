// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
//
// Runs in the kernel: marks the blocks that are written on one disk. Discards and write-zeroes
// change a disk as writes do.
//
// Disks that take requests have events of these only, the others (device-mapper, md, zram) of bios
// only; which programs are attached depends on that.
//
// A write is marked when it begins and when it completes. In between it stands in the slot of its
// tag, or among the bios, so that who clears marks can tell which of them are of writes that have
// not landed yet (see tap/bpf/watch.cc). Completions are known to go unseen now and then,
// so nothing relies on the second mark, and who takes over a place that was never emptied marks
// what stands there.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "block_writes.h"

// The kernel lets only programs under its own licence look at its structures: of the two above,
// that.
char kLicense[] SEC("license") = "GPL v2";

// Of the kernel's structures, what is used; where it lies is filled in when the program is loaded.
#define RELOCATED __attribute__((preserve_access_index))

struct gendisk {
  int major;
  int first_minor;
} RELOCATED;

struct request_queue {
  struct gendisk *disk;
} RELOCATED;

struct blk_mq_hw_ctx {
  unsigned queue_num;
} RELOCATED;

struct block_device {
  struct gendisk *bd_disk;
} RELOCATED;

struct bvec_iter {
  unsigned long long bi_sector;
  unsigned bi_size;
} RELOCATED;

struct bio {
  struct bio *bi_next;
  struct block_device *bi_bdev;
  unsigned bi_opf;
  struct bvec_iter bi_iter;
} RELOCATED;

enum mq_rq_state { MQ_RQ_IDLE };

struct request {
  struct request_queue *q;
  struct blk_mq_hw_ctx *mq_hctx;
  unsigned cmd_flags;
  int tag;
  unsigned __data_len;
  unsigned long long __sector;
  struct bio *bio;
  enum mq_rq_state state;
} RELOCATED;

enum { OP_MASK = 0xff, OP_DISCARD = 3, OP_DRIVER_OUT = 35 };
enum { SECTORS_TO_BLOCKS = BLOCK_WRITES_SHIFT - 9, MAX_RANGES = 256 };

const volatile struct block_writes_target target;

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1);  // as many as it takes, set when it is loaded
  __type(key, __u32);
  __type(value, __u64);
} marks SEC(".maps"), summary SEC(".maps"), slots SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, COUNTERS);
  __type(key, __u32);
  __type(value, __u64);
} counters SEC(".maps");

// Only for who clears marks.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, BLOCK_WRITES_NOTES);
  __type(key, __u32);
  __type(value, __u64);
} notes SEC(".maps");

// By their addresses.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 1);
  __type(key, __u64);
  __type(value, __u64);
} bios SEC(".maps");

static void count(__u32 which, __u64 amount) {
  __u64 *counter = bpf_map_lookup_elem(&counters, &which);
  if (counter) __sync_fetch_and_add(counter, amount);
}

struct blocks {
  __u64 first, last;
};

// The word first, then the summary: see tap/bpf/kernel_marks.h. Whoever finds the word empty
// sees to the summary, for those that come before the word is cleared again, too.
static long mark_word(__u32 index, struct blocks *blocks) {
  __u32 word = blocks->first / 64 + index;
  __u64 bits = ~0ull;
  if (index == 0) bits <<= blocks->first % 64;
  if (word == blocks->last / 64) bits &= ~0ull >> (63 - blocks->last % 64);
  __u64 *place = bpf_map_lookup_elem(&marks, &word);
  // That the result is used makes it a full barrier on every processor.
  if (!place || __sync_fetch_and_or(place, bits)) return 0;
  __u32 group = word / BLOCK_WRITES_GROUP;
  __u32 above = group / 64;
  place = bpf_map_lookup_elem(&summary, &above);
  if (place) __sync_fetch_and_or(place, 1ull << group % 64);
  return 0;
}

static void mark(__u64 packed) {
  struct blocks blocks = {.first = packed >> BLOCK_WRITES_COUNT_BITS};
  blocks.last = blocks.first + (packed & BLOCK_WRITES_COUNT_MASK) - 1;
  bpf_loop(blocks.last / 64 - blocks.first / 64 + 1, mark_word, &blocks, 0);
}

static __u32 operation(struct request *rq) { return rq->cmd_flags & OP_MASK; }

// Operations with data to the device, of whatever kind, have odd numbers.
static int is_write(__u32 flags) { return flags & 1; }

static int is_target(struct gendisk *disk) {
  return disk && (__u32)disk->major == target.major && (__u32)disk->first_minor == target.minor;
}

static int is_ours(struct request *rq) { return is_write(rq->cmd_flags) && is_target(rq->q->disk); }

// Some drivers take discards of many places in one request: all from the first to the last.
static void widen(struct bio *bio, __u64 *from, __u64 *to) {
  for (int i = 0; i < MAX_RANGES && bio; i++) {
    __u64 begin = bio->bi_iter.bi_sector;
    __u64 end = begin + (bio->bi_iter.bi_size >> 9);
    if (begin < *from) *from = begin;
    if (end > *to) *to = end;
    bio = bio->bi_next;
  }
}

// The blocks of some sectors, packed; 0 when none of them is watched.
static __u64 pack(__u64 from, __u64 to) {
  __u64 end = target.start + target.sectors;
  if (from < target.start) from = target.start;
  if (to > end) to = end;
  if (from >= to) return 0;
  __u64 first = (from - target.start) >> SECTORS_TO_BLOCKS;
  __u64 blocks = ((to - target.start - 1) >> SECTORS_TO_BLOCKS) - first + 1;
  if (blocks > BLOCK_WRITES_COUNT_MASK) {
    count(COUNT_UNTOLD, 1);
    return 0;
  }
  return first << BLOCK_WRITES_COUNT_BITS | blocks;
}

static __u64 blocks_of(struct request *rq) {
  __u64 from = rq->__sector;
  __u64 to = from + (rq->__data_len >> 9);
  if (operation(rq) == OP_DISCARD) widen(rq->bio, &from, &to);
  return pack(from, to);
}

static __u64 *slot_of(struct request *rq) {
  __u32 index = rq->mq_hctx->queue_num * target.tags + rq->tag;
  return bpf_map_lookup_elem(&slots, &index);
}

static void count_write(__u32 bytes) {
  count(COUNT_WRITES, 1);
  count(COUNT_BYTES, bytes);
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(on_issue, struct request *rq) {
  if (!is_ours(rq)) return 0;
  if (operation(rq) == OP_DRIVER_OUT) {
    count(COUNT_UNTOLD, 1);
    return 0;
  }
  count(COUNT_SECTORS, rq->__data_len >> 9);
  __u64 blocks = blocks_of(rq);
  if (!blocks) return 0;
  count_write(rq->__data_len);
  __u64 *slot = slot_of(rq);
  if (slot) {
    __u64 left = __sync_lock_test_and_set(slot, blocks);
    if (left) mark(left);
  } else {
    count(COUNT_UNTOLD, 1);
  }
  mark(blocks);  // after the slot: who clears the mark finds the slot taken
  return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(on_complete, struct request *rq, int error, unsigned bytes) {
  if (!is_ours(rq) || operation(rq) == OP_DRIVER_OUT) return 0;
  __u64 blocks = blocks_of(rq);
  if (!blocks) return 0;
  mark(blocks);
  __u64 *slot = bytes < rq->__data_len ? 0 : slot_of(rq);
  if (slot) *slot = 0;
  return 0;
}

// A driver that was busy gives a request back, to be issued again.
SEC("tp_btf/block_rq_requeue")
int BPF_PROG(on_requeue, struct request *rq) {
  if (!is_ours(rq) || operation(rq) == OP_DRIVER_OUT) return 0;
  if (rq->state != MQ_RQ_IDLE) count(COUNT_SECTORS, -(__u64)(rq->__data_len >> 9));
  return 0;
}

static int is_our_bio(struct bio *bio) {
  return is_write(bio->bi_opf) && is_target(bio->bi_bdev->bd_disk);
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(on_bio_queue, struct bio *bio) {
  if (!is_our_bio(bio)) return 0;
  __u32 bytes = bio->bi_iter.bi_size;
  __u64 from = bio->bi_iter.bi_sector;
  count(COUNT_SECTORS, bytes >> 9);
  __u64 blocks = pack(from, from + (bytes >> 9));
  if (!blocks) return 0;
  count_write(bytes);
  __u64 key = (__u64)bio;
  __u64 *left = bpf_map_lookup_elem(&bios, &key);
  if (left) mark(*left);
  if (bpf_map_update_elem(&bios, &key, &blocks, BPF_ANY)) count(COUNT_UNTOLD, 1);
  mark(blocks);
  return 0;
}

// What the bio says of itself then is of no use: drivers move on in it.
SEC("tp_btf/block_bio_complete")
int BPF_PROG(on_bio_complete, void *queue, struct bio *bio) {
  if (!is_our_bio(bio)) return 0;
  __u64 key = (__u64)bio;
  __u64 *blocks = bpf_map_lookup_elem(&bios, &key);
  if (!blocks) return 0;
  mark(*blocks);
  bpf_map_delete_elem(&bios, &key);
  return 0;
}
