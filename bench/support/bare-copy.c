// The limit to come close to: a sparse file over TCP with nothing checked, nothing compressed and
// one stream. Per piece of data: find it, read up to 1 MiB, send; receive, write.
//
//   bare-copy receive PORT PATH     ends when the copy is complete
//   bare-copy send PORT PATH        ends when the receiver has written everything

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kPiece = 1 << 20 };

// Length 0 ends the copy.
struct header {
  uint64_t offset;
  uint64_t length;
};

static char piece[kPiece];

static void fail(const char* what) {
  perror(what);
  exit(1);
}

static void send_all(int socket, const void* data, size_t length) {
  const char* from = data;
  while (length > 0) {
    ssize_t sent = send(socket, from, length, 0);
    if (sent <= 0) fail("send");
    from += sent;
    length -= sent;
  }
}

static void receive_all(int socket, void* data, size_t length) {
  char* to = data;
  while (length > 0) {
    ssize_t received = recv(socket, to, length, MSG_WAITALL);
    if (received <= 0) fail("recv");
    to += received;
    length -= received;
  }
}

static void send_data(int socket, int file, off_t from, off_t to) {
  while (from < to) {
    size_t length = to - from < kPiece ? to - from : kPiece;
    ssize_t got = pread(file, piece, length, from);
    if (got <= 0) fail("pread");
    struct header header = {from, got};
    send_all(socket, &header, sizeof header);
    send_all(socket, piece, got);
    from += got;
  }
}

static int send_file(struct sockaddr_in* address, const char* path) {
  int file = open(path, O_RDONLY);
  if (file < 0) fail(path);
  int peer = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(peer, (struct sockaddr*)address, sizeof *address) < 0) fail("connect");
  off_t end = 0;
  for (;;) {
    off_t start = lseek(file, end, SEEK_DATA);
    if (start < 0) break;
    end = lseek(file, start, SEEK_HOLE);
    send_data(peer, file, start, end);
  }
  struct header last = {0, 0};
  send_all(peer, &last, sizeof last);
  char done;
  receive_all(peer, &done, 1);
  return 0;
}

static int receive_file(struct sockaddr_in* address, const char* path) {
  int file = open(path, O_WRONLY);
  if (file < 0) fail(path);
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listener, (struct sockaddr*)address, sizeof *address) < 0) fail("bind");
  if (listen(listener, 1) < 0) fail("listen");
  int peer = accept(listener, NULL, NULL);
  if (peer < 0) fail("accept");
  for (;;) {
    struct header header;
    receive_all(peer, &header, sizeof header);
    if (header.length == 0) break;
    receive_all(peer, piece, header.length);
    if (pwrite(file, piece, header.length, header.offset) != (ssize_t)header.length) fail("pwrite");
  }
  send_all(peer, "d", 1);
  return 0;
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (strcmp(argv[1], "send") == 0) return send_file(&address, argv[3]);
  return receive_file(&address, argv[3]);
}
