// What a core can do right now, for ratios: rates of instructions and of reading
// memory, all in the calling thread's own processor time.
#pragma once

#include <cstddef>
#include <string>

double thread_seconds();

// What one of the two products of an attention can be made of.
enum class Product { fma_ymm, fma_zmm, bf16, int8 };

// What the core can do right now, in billions of operations per second.
double peak(Product product);
// The rate of an attention whose products each run at their own peak.
double peak(Product qk, int qk_dim, Product pv, int v_dim);
// The time to read [from, from + bytes) once.
double read_seconds(const char *from, size_t bytes);

// Memory in huge pages where the system has them, as the runtime allocates it;
// released when the process ends.
char *allocate(size_t bytes);
// Noise in any element type: random mantissas around 1 would do for time, but
// scores should look like scores.
char *noise(size_t count, const std::string &type, unsigned seed);
