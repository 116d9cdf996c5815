/* Sends events with sequence numbers to every HTTP client, until that goes: a stream of
 * text/event-stream, as browsers take it.
 *
 *   event-server PORT INTERVAL_MS */

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const char head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

_Noreturn static void tell(int client, unsigned interval) {
  char request[4096];
  if (read(client, request, sizeof request) <= 0) _exit(1);
  if (dprintf(client, "%s", head) < 0) _exit(1);
  for (unsigned number = 0; dprintf(client, "data: %u\n\n", number) > 0; number++)
    usleep(interval * 1000);
  _exit(0);
}

int main(int count, char **arguments) {
  if (count != 3) errx(2, "needs a port and an interval");
  signal(SIGCHLD, SIG_IGN); /* nobody waits for the children */
  const int listener = socket(AF_INET6, SOCK_STREAM, 0);
  const int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const struct sockaddr_in6 here = {.sin6_family = AF_INET6,
                                    .sin6_port = htons((unsigned short)atoi(arguments[1]))};
  if (bind(listener, (const struct sockaddr *)&here, sizeof here) != 0) err(1, "bind");
  if (listen(listener, 128) != 0) err(1, "listen");
  for (;;) {
    const int client = accept(listener, NULL, NULL);
    if (client < 0) continue;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fork() == 0) tell(client, (unsigned)atoi(arguments[2]));
    close(client);
  }
}
