// CHECK(condition): ends the test program with the place of the first condition that fails.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <cstring>

#define CHECK(condition)                                                      \
  do {                                                                        \
    if (!(condition)) {                                                       \
      fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      exit(1);                                                                \
    }                                                                         \
  } while (0)

// Whether a case's name holds what the environment's CASE says; all do without.
inline bool is_chosen(const char* name) {
  const char* part = getenv("CASE");
  return part == nullptr || strstr(name, part) != nullptr;
}

// RUN(case): a call of a test case, if it is chosen, and the line that says it passed.
#define RUN(case)                 \
  do {                            \
    if (!is_chosen(#case)) break; \
    case;                              \
    puts("ok " #case);                 \
    fflush(stdout);                    \
  } while (0)
