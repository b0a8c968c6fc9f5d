// What rotating fresh keys and rotating cached ones share.
#pragma once

#include "runtime/ops/ops.h"

namespace attn::ops {

// X as (batch, head, token, dim) whatever its rank.
struct RopeShape {
  int64_t batch, heads, tokens, dim, rotated;
  bool interleaved, has_positions;
};
Status rope_shape(const NodeView &c, RopeShape &s);

struct RopeStrides {
  int64_t batch, head, token;
};
RopeStrides rope_strides(const Tensor &t, const RopeShape &s);

// Rotates one head of one token; what is not rotated is copied.
void rope_row(const Isa &table, const RopeShape &s, const float *x, const float *cosine,
              const float *sine, float *y);

Status check_rope_position(int64_t position, int64_t rows);

} // namespace attn::ops
