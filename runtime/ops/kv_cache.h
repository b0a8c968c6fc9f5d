// Int8 rows: per (token, head) the largest magnitude becomes 127, rounding to
// nearest even; Isa::quantise makes them.
#pragma once

#include <cstdint>

namespace attn::ops {

inline constexpr int64_t kMaxQuantisedDim = 1024; // of one head

void dequantise(const int8_t *x, float scale, float *y, int64_t n);

} // namespace attn::ops
