// The shape of an ONNX Attention node, shared by the reference and by the
// dispatch to compiled kernels.
#pragma once

#include "runtime/graph/op.h"

namespace attn::ops {

struct AttentionShape {
  int64_t batch = 0, heads = 0, kv_heads = 0, q_len = 0, qk_dim = 0, v_dim = 0;
  int64_t past_len = 0, new_len = 0, kv_len = 0;
  bool rank3 = false, causal = false, has_lengths = false, int8_cache = false;
  float scale = 0, softcap = 0;
};

Status attention_shape(const graph::NodeView &c, AttentionShape &s);

// Element strides of a (batch, head, token) tensor of rank 3 or 4.
struct HeadStrides {
  int64_t batch, head, token;
};
HeadStrides head_strides(const graph::Tensor &t, int64_t heads);

Result<std::unique_ptr<graph::OpKernel>> make_reference_attention(const graph::MakeContext &c);

} // namespace attn::ops
