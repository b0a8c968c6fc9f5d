// The inner loops for AVX2 with FMA: 8 floats a vector, tiles of 6 x 16.
#include "runtime/ops/isa.h"

namespace attn::ops {
#if defined(__x86_64__)
namespace avx2 {
#define VF 8
#define MR 6
#define ATTN_ISA_NAME "avx2"
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#include "runtime/ops/isa_loops.inc"
#pragma clang attribute pop
} // namespace avx2
extern const Isa *const isa_avx2 = &avx2::table;
#else
extern const Isa *const isa_avx2 = nullptr;
#endif
} // namespace attn::ops
