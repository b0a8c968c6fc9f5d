// The shape of an ONNX Attention node, shared by the reference and by the
// dispatch to compiled kernels.
#pragma once

#include "runtime/graph/op.h"

namespace attn::ops {

// What the fourth output of Attention shows of the scores.
enum class Products : uint8_t { raw, softcapped, masked, probabilities, none };

struct AttentionShape {
  int64_t batch = 0, heads = 0, kv_heads = 0, q_len = 0, qk_dim = 0, v_dim = 0;
  int64_t past_len = 0, new_len = 0, kv_len = 0;
  int64_t left_window = -1, right_window = -1; // keys before and after the query's own; -1: all
  int64_t mask_columns = 0; // a mask shorter than the keys masks the rest; 0: no mask
  bool rank3 = false, causal = false, has_lengths = false, int8_cache = false, softmax_f64 = false;
  Products products = Products::none;
  float scale = 0, softcap = 0;
};

Status attention_shape(const graph::NodeView &c, AttentionShape &s);

// Element strides of a (batch, head, token) tensor of rank 3 or 4.
struct HeadStrides {
  int64_t batch, head, token;
};
HeadStrides head_strides(const graph::Tensor &t, int64_t heads);

// Keys or values of rank 3 seen as (batch, head, token, dim).
graph::Tensor with_heads(const graph::Tensor &t, int64_t heads);

// Writes the present cache, (batch, head, token, dim): what came in front, if
// anything did, then what is new.
void join_past(const graph::Tensor *past, const graph::Tensor &fresh,
               const graph::Tensor &present);

Result<std::unique_ptr<graph::OpKernel>> make_reference_attention(const graph::MakeContext &c);

} // namespace attn::ops
