/* Sends events with sequence numbers to every HTTP client, until that goes: a stream of
 * text/event-stream, as browsers take it.
 *
 *   event-server PORT INTERVAL_MS */

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"

static const char head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
static unsigned interval_ms;

static void tell(int client) {
  char request[4096];
  if (read(client, request, sizeof request) <= 0) return;
  if (dprintf(client, "%s", head) < 0) return;
  for (unsigned number = 0; dprintf(client, "data: %u\n\n", number) > 0; number++)
    usleep(interval_ms * 1000);
}

int main(int count, char **arguments) {
  if (count != 3) errx(2, "needs a port and an interval");
  interval_ms = (unsigned)atoi(arguments[2]);
  serve((unsigned short)atoi(arguments[1]), tell);
}
