// Normal noise with the same bits on every machine: Philox4x32-10 counters,
// Box-Muller in double with our own logarithm, sine and cosine.
//   counter = (element / 4 low 32 bits, high 32 bits, block, step)
//   key     = (seed low 32 bits, seed high 32 bits)
// Words u0..u3 of a counter give elements 4i..4i+3 by the pairs (u0, u1), (u2, u3):
//   r = sqrt(-2 ln((u0 + 0.5) 2^-32)), a = 2 pi (u1 + 0.5) 2^-32, (r cos a, r sin a)
// rounded to f32. The polynomials are within 2e-15 relative of the true values
// (log) and 4e-16 absolute (sine, cosine); additions and products are never fused.
#pragma once

#include <array>
#include <cstdint>

namespace attn::stream {

using PhiloxWords = std::array<uint32_t, 4>;
PhiloxWords philox(PhiloxWords counter, uint32_t key0, uint32_t key1);

void fill_normal(float *out, int64_t count, uint64_t seed, uint32_t block, uint32_t step);

// The functions themselves, for tests. log: x in (0, 1]. cycle: turns in [0, 1).
double noise_log(double x);
void noise_sincos(double turns, double &sine, double &cosine);

} // namespace attn::stream
