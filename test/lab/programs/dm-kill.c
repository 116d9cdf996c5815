/* Preloaded: kills the process before its DM_KILL_AT-th ioctl to device-mapper. The watchdog has
 * another environment, so it is not touched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum { device_mapper = 0xfd };

int ioctl(int fd, unsigned long request, ...) {
  static atomic_int count;
  static int (*next)(int, unsigned long, void *);
  va_list arguments;
  va_start(arguments, request);
  void *argument = va_arg(arguments, void *);
  va_end(arguments);
  if (!next) next = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
  const char *at = getenv("DM_KILL_AT");
  if (at && _IOC_TYPE(request) == device_mapper && atomic_fetch_add(&count, 1) + 1 == atoi(at)) raise(SIGKILL);
  return next(fd, request, argument);
}
