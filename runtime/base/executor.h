// Loops on the threads of the program that this library is part of.
#pragma once

#include <cstdint>

namespace attn {

struct Executor {
  uint32_t threads = 0; // how many of them work on a loop at most; 0: there is no executor
  // Calls task(context, i) once for each i below `tasks`, on any threads, beside each other
  // or one after another, and returns when all have returned.
  void (*run)(void *user, uint32_t tasks, void (*task)(void *context, uint32_t i),
              void *context) = nullptr;
  void *user = nullptr;
};

} // namespace attn
