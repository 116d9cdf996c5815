/* Sends back what it gets, on every connection until the client ends it.
 *
 *   echo-server PORT */

#include <err.h>
#include <stdlib.h>
#include <unistd.h>

#include "serve.h"

static void echo(int client) {
  char bytes[4096];
  for (;;) {
    const ssize_t got = read(client, bytes, sizeof bytes);
    if (got <= 0) return;
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t done = write(client, bytes + sent, (size_t)(got - sent));
      if (done < 0) return;
      sent += done;
    }
  }
}

int main(int count, char **arguments) {
  if (count != 2) errx(2, "needs a port");
  serve((unsigned short)atoi(arguments[1]), echo);
}
