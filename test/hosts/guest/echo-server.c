/* Sends back what it gets, on every connection until the client ends it.
 *
 *   echo-server PORT */

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

_Noreturn static void echo(int client) {
  char bytes[4096];
  for (;;) {
    const ssize_t got = read(client, bytes, sizeof bytes);
    if (got <= 0) _exit(0);
    for (ssize_t sent = 0; sent < got;) {
      const ssize_t done = write(client, bytes + sent, (size_t)(got - sent));
      if (done < 0) _exit(1);
      sent += done;
    }
  }
}

int main(int count, char **arguments) {
  if (count != 2) errx(2, "needs a port");
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
    if (fork() == 0) echo(client);
    close(client);
  }
}
