/* A small HTTP server behind nginx. One request at a time, one per connection.
 *
 *   service LOG STRESS
 *
 *   /write?client=N                              appends to LOG; answers when it is on the disk
 *   /stress/start?mebibytes=N&rate=N&sync=0|1    writes to STRESS, see service.h
 *   /memory/start?mebibytes=N&rate=N             dirties memory, see service.h
 *   /stress/stop   /stress/count   /memory/stop   /poweroff */

#include "service.h"

#include <arpa/inet.h>
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { port = 8081, request_limit = 4096 };

static const char *stress_path;

unsigned long long parameter(const char *path, const char *name, unsigned long long otherwise) {
  const char *at = strchr(path, '?');
  size_t length = strlen(name);
  while (at != NULL) {
    at++;
    if (strncmp(at, name, length) == 0 && at[length] == '=') {
      return strtoull(at + length + 1, NULL, 10);
    }
    at = strchr(at, '&');
  }
  return otherwise;
}

static bool begins(const char *path, const char *prefix) {
  return strncmp(path, prefix, strlen(prefix)) == 0;
}

bool answer(const char *path, char *text, size_t size) {
  snprintf(text, size, "ok\n");
  if (begins(path, "/write")) return log_append(parameter(path, "client", 0), text, size);
  if (begins(path, "/stress/start")) {
    return stress_start(stress_path, parameter(path, "mebibytes", 64), parameter(path, "rate", 0),
                        parameter(path, "sync", 1) != 0);
  }
  if (begins(path, "/memory/start")) {
    return memory_start(parameter(path, "mebibytes", 64), parameter(path, "rate", 0));
  }
  if (begins(path, "/stress/stop")) stress_stop();
  else if (begins(path, "/memory/stop")) memory_stop();
  else if (begins(path, "/stress/count")) snprintf(text, size, "%llu\n", stress_count());
  else if (begins(path, "/poweroff")) kill(1, SIGUSR2); /* busybox init's sign for it */
  else return false;
  return true;
}

/* Reads a request to its empty line. False when the client is gone. */
static bool read_request(int client, char *request) {
  size_t length = 0;
  while (length < request_limit - 1) {
    ssize_t got = read(client, request + length, request_limit - 1 - length);
    if (got <= 0) return false;
    length += (size_t)got;
    request[length] = 0;
    if (strstr(request, "\r\n\r\n") != NULL) return true;
  }
  return false;
}

static void serve(int client) {
  char request[request_limit], path[request_limit], text[256] = "", response[512];
  if (!read_request(client, request)) return;
  if (sscanf(request, "%*s %4095s", path) != 1) return;
  const bool is_done = answer(path, text, sizeof text);
  const char *status = is_done ? "200 OK" : "500 Failed";
  const int length = snprintf(response, sizeof response,
                              "HTTP/1.0 %s\r\nContent-Length: %zu\r\n\r\n%s", status,
                              strlen(text), text);
  if (write(client, response, (size_t)length) != length) return; /* its loss */
}

int main(int count, char **arguments) {
  if (count != 3) errx(2, "needs the paths of the log and of the stress file");
  signal(SIGPIPE, SIG_IGN);
  log_open(arguments[1]);
  stress_path = arguments[2];
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  const int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const struct sockaddr_in here = {.sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
  if (bind(listener, (const struct sockaddr *)&here, sizeof here) != 0) err(1, "bind");
  if (listen(listener, 128) != 0) err(1, "listen");
  for (;;) {
    const int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    const struct timeval patience = {.tv_sec = 5};
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    serve(client);
    close(client);
  }
}
