/* A wide-area link between two network namespaces, in user space.
 *
 *   link tun|tap NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B SEED
 *
 * It makes a device in each namespace and carries packets between them, the same way in both
 * directions. A packet is lost with a probability, or because the queue before the link is full;
 * else it waits for those before it, takes its size divided by the rate to be sent, and arrives
 * a delay later. The devices go when the program ends.
 *
 * It says "ready" when the devices are there, and then answers each line of its standard input
 * with a line. It ends with its input.
 *
 *   rate BITS         a second; 0: no limit
 *   delay NS          one way
 *   queue BYTES       each way; counts with a rate only
 *   loss MILLIONTHS   of the packets
 *   cut               nothing arrives any more, not even what is on its way
 *   restore           ends a cut
 *   stats             answers BYTES PACKETS LOST from A to B, then the same from B to A
 *
 * A direction has a thread, and only it touches its packets. The settings are shared, each read
 * once per packet, so that a change counts from the next packet on. */

#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { packet_limit = 65536, batch = 64 };
static const size_t memory_limit = 256 << 20;
static const int64_t second = 1000000000;

static _Atomic uint64_t rate, delay_ns, queue_bytes, loss_millionths;
static atomic_bool is_cut;

struct packet {
  struct packet *next;
  int64_t arrives;
  size_t size;
  unsigned char bytes[];
};

struct direction {
  int in, out;
  struct packet *first, *last;
  size_t held;      /* bytes of the packets here */
  int64_t free_at;  /* when all that was accepted so far has been sent */
  uint64_t random;
  _Atomic uint64_t bytes, packets, lost;
};

static struct direction directions[2];

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * second + now.tv_nsec;
}

static uint64_t random_number(struct direction *self) {
  self->random ^= self->random << 13;
  self->random ^= self->random >> 7;
  self->random ^= self->random << 17;
  return self->random;
}

/* Whether a packet that comes now gets through; books its time on the link. */
static bool admit(struct direction *self, size_t size, int64_t now, int64_t *arrives) {
  const uint64_t bits = rate;
  if (is_cut || self->held + size > memory_limit) return false;
  if (loss_millionths > 0 && random_number(self) % 1000000 < loss_millionths) return false;
  if (self->free_at < now) self->free_at = now;
  if (bits > 0) {
    const double queued = (double)(self->free_at - now) * (double)bits / 8e9;
    if (queued > 0 && queued + (double)size > (double)queue_bytes) return false;
    self->free_at += (int64_t)((double)size * 8e9 / (double)bits);
  }
  *arrives = self->free_at + (int64_t)delay_ns;
  return true;
}

static void append(struct direction *self, struct packet *packet) {
  if (self->last == NULL) self->first = packet;
  else self->last->next = packet;
  self->last = packet;
  self->held += packet->size;
}

static void take_packets(struct direction *self) {
  static _Thread_local unsigned char bytes[packet_limit];
  for (int i = 0; i < batch; i++) {
    const ssize_t size = read(self->in, bytes, sizeof bytes);
    if (size <= 0) return;
    int64_t arrives;
    if (!admit(self, (size_t)size, now_ns(), &arrives)) {
      self->lost++;
      continue;
    }
    struct packet *packet = malloc(sizeof *packet + (size_t)size);
    if (packet == NULL) err(1, "memory");
    *packet = (struct packet){.arrives = arrives, .size = (size_t)size};
    memcpy(packet->bytes, bytes, (size_t)size);
    append(self, packet);
  }
}

static void deliver_one(struct direction *self) {
  struct packet *packet = self->first;
  self->first = packet->next;
  if (self->first == NULL) self->last = NULL;
  self->held -= packet->size;
  if (!is_cut && write(self->out, packet->bytes, packet->size) == (ssize_t)packet->size) {
    self->bytes += packet->size;
    self->packets++;
  } else {
    self->lost++;
  }
  free(packet);
}

static void *carry(void *argument) {
  struct direction *self = argument;
  prctl(PR_SET_TIMERSLACK, 1000UL);
  for (;;) {
    int64_t now = now_ns();
    while (self->first != NULL && self->first->arrives <= now) deliver_one(self);
    struct timespec wait, *limit = NULL;
    if (self->first != NULL) {
      const int64_t left = self->first->arrives - now;
      wait = (struct timespec){.tv_sec = left / second, .tv_nsec = left % second};
      limit = &wait;
    }
    struct pollfd input = {.fd = self->in, .events = POLLIN};
    if (ppoll(&input, 1, limit, NULL) <= 0) continue;
    if ((input.revents & POLLERR) != 0) exit(0); /* the namespace is gone */
    take_packets(self);
  }
  return NULL;
}

static int open_device(const char *kind, const char *namespace, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "/run/netns/%s", namespace);
  const int place = open(path, O_RDONLY | O_CLOEXEC);
  if (place < 0 || setns(place, CLONE_NEWNET) != 0) err(1, "%s", path);
  close(place);
  const int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  struct ifreq request = {.ifr_flags = IFF_NO_PI};
  request.ifr_flags |= strcmp(kind, "tap") == 0 ? IFF_TAP : IFF_TUN;
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  if (device < 0 || ioctl(device, TUNSETIFF, &request) != 0) err(1, "device %s", name);
  return device;
}

static void print_stats(void) {
  for (int i = 0; i < 2; i++) {
    const struct direction *self = &directions[i];
    printf("%s%" PRIu64 " %" PRIu64 " %" PRIu64, i > 0 ? " " : "", self->bytes, self->packets,
           self->lost);
  }
  printf("\n");
}

/* Does what a line says, and answers it. */
static void obey(const char *line) {
  uint64_t value;
  if (sscanf(line, "rate %" SCNu64, &value) == 1) rate = value;
  else if (sscanf(line, "delay %" SCNu64, &value) == 1) delay_ns = value;
  else if (sscanf(line, "queue %" SCNu64, &value) == 1) queue_bytes = value;
  else if (sscanf(line, "loss %" SCNu64, &value) == 1) loss_millionths = value;
  else if (strcmp(line, "cut\n") == 0) is_cut = true;
  else if (strcmp(line, "restore\n") == 0) is_cut = false;
  else if (strcmp(line, "stats\n") == 0) return print_stats();
  else errx(2, "what is this: %s", line);
  printf("ok\n");
}

int main(int count, char **arguments) {
  if (count != 7) errx(2, "needs tun|tap NAMESPACE_A DEVICE_A NAMESPACE_B DEVICE_B SEED");
  const int a = open_device(arguments[1], arguments[2], arguments[3]);
  const int b = open_device(arguments[1], arguments[4], arguments[5]);
  const uint64_t seed = strtoull(arguments[6], NULL, 10) * 2 + 1;
  directions[0] = (struct direction){.in = a, .out = b, .random = seed * 88172645463325252U};
  directions[1] = (struct direction){.in = b, .out = a, .random = seed * 2685821657736338717U};
  for (int i = 0; i < 2; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, carry, &directions[i]) != 0) errx(1, "no thread");
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  printf("ready\n");
  char line[256];
  while (fgets(line, sizeof line, stdin) != NULL) obey(line);
  return 0;
}
