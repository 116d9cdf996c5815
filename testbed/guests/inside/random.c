/* Repeatable numbers that do not compress: Marsaglia's xorshift64. */

#include "service.h"

uint64_t random_number(void) {
  static uint64_t state = 88172645463325252;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}
