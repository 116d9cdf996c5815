#include "serve.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

static int listen_on(unsigned short port) {
  const int listener = socket(AF_INET6, SOCK_STREAM, 0);
  const int yes = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  const struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  if (bind(listener, (const struct sockaddr *)&here, sizeof here) != 0) err(1, "bind");
  if (listen(listener, 128) != 0) err(1, "listen");
  return listener;
}

_Noreturn void serve(unsigned short port, void (*client)(int connection)) {
  signal(SIGCHLD, SIG_IGN); /* nobody waits for the children */
  const int listener = listen_on(port);
  for (;;) {
    const int connection = accept(listener, NULL, NULL);
    if (connection < 0) continue;
    const int yes = 1;
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (fork() == 0) {
      client(connection);
      _exit(0);
    }
    close(connection);
  }
}
