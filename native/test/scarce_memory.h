// Allocations that fail when a test wants it. For one file of a program: it replaces operator new.
#pragma once

#include <atomic>
#include <cstdlib>
#include <new>

namespace blockferry {

inline std::atomic<long> allocations{0}, refused_allocations{0};
// The allocations that are left until one fails; none fails at 0.
inline std::atomic<long> countdown{0};
// Each so manyth of the threads that are not spared fails; none at 0.
inline std::atomic<long> one_in{0};
inline thread_local bool is_spared = false;

inline bool is_to_fail() {
  long number = ++allocations, every = one_in.load();
  bool fails =
      every > 0 && !is_spared ? number % every == 0 : countdown.load() > 0 && --countdown == 0;
  if (fails) refused_allocations++;
  return fails;
}

}  // namespace blockferry

// Not inlined: the compiler would see new and free() meet.
[[gnu::noinline]] void* operator new(size_t size) {
  void* memory = blockferry::is_to_fail() ? nullptr : malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { free(memory); }
