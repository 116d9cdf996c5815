/* What the servers in the guest have in common: a process for every connection. */

#pragma once

/* Listens on the port, on every address; `client` has a connection for itself until it returns. */
_Noreturn void serve(unsigned short port, void (*client)(int connection));
