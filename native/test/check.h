// CHECK(condition): ends the test program with the place of the first condition that fails.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                            \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);       \
      exit(1);                                                                      \
    }                                                                               \
  } while (0)

// RUN(case): a call of a test case, and the line that says it passed.
#define RUN(case)            \
  do {                       \
    case;                    \
    puts("ok " #case);       \
    fflush(stdout);          \
  } while (0)
