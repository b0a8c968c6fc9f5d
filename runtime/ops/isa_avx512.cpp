// The inner loops for AVX-512: 16 floats a vector, tiles of 12 x 32.
#include "runtime/ops/isa.h"

namespace attn::ops {
#if defined(__x86_64__)
namespace avx512 {
#define VF 16
#define MR 12
#define ATTN_ISA_NAME "avx512"
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#include "runtime/ops/isa_loops.inc"
#pragma clang attribute pop
} // namespace avx512
extern const Isa *const isa_avx512 = &avx512::table;
#else
extern const Isa *const isa_avx512 = nullptr;
#endif
} // namespace attn::ops
