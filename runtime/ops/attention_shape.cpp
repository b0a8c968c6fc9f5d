// What an Attention node is about: extents, attributes and types are read and
// checked against each other; the types of its outputs follow.
#include "runtime/ops/attention.h"

#include "runtime/graph/copy.h"
#include "runtime/ops/ops.h"
#include <cmath>

namespace attn::ops {

// Heads share the last axis of tensors of rank 3, and have one in those of rank 4.
static Status read_extents(const NodeView &c, AttentionShape &s) {
  const Shape &q = c.shape(0), &k = c.shape(1), &v = c.shape(2);
  if (q.rank != k.rank || q.rank != v.rank || (q.rank != 3 && q.rank != 4))
    return Status::invalid_input("has Q, K, V of shapes ", q.text(), ", ", k.text(), ", ",
                                 v.text());
  s.rank3 = q.rank == 3;
  s.heads = c.node.integer("q_num_heads", s.rank3 ? 0 : q[1]);
  s.kv_heads = c.node.integer("kv_num_heads", s.rank3 ? 0 : k[1]);
  if (s.rank3) {
    if (s.heads <= 0 || s.kv_heads <= 0 || q[2] % s.heads || k[2] % s.kv_heads || v[2] % s.kv_heads)
      return Status::invalid_input("has ", s.heads, " query heads and ", s.kv_heads,
                                   " key heads for rows of ", q[2], ", ", k[2], " and ", v[2]);
    s.q_len = q[1];
    s.new_len = k[1];
    s.qk_dim = q[2] / s.heads;
    s.v_dim = v[2] / s.kv_heads;
    if (k[2] / s.kv_heads != s.qk_dim || v[1] != k[1])
      return Status::invalid_input("has K and V that do not fit Q");
  } else {
    s.q_len = q[2];
    s.new_len = k[2];
    s.qk_dim = q[3];
    s.v_dim = v[3];
    if (k[3] != q[3] || v[1] != k[1] || v[2] != k[2] || s.heads != q[1] || s.kv_heads != k[1])
      return Status::invalid_input("has Q, K, V of shapes ", q.text(), ", ", k.text(), ", ",
                                   v.text(), " for ", s.heads, " and ", s.kv_heads, " heads");
  }
  s.batch = q[0];
  if (k[0] != s.batch || v[0] != s.batch || s.kv_heads == 0 || s.heads % s.kv_heads)
    return Status::invalid_input("has ", s.heads, " query heads over ", s.kv_heads,
                                 " key heads, batch ", s.batch, " over ", k[0]);
  return {};
}

// Keys and values of earlier calls come in front (past), or lie in K and V with
// as many valid rows as nonpad_kv_seqlen says: one or the other.
static Status read_cache(const NodeView &c, AttentionShape &s) {
  s.past_len = 0;
  if (c.has(4) != c.has(5))
    return Status::invalid_input("has a past key or a past value alone");
  if (c.has(4)) {
    const Shape &past = c.shape(4);
    ATTN_RETURN_IF_ERROR(c.require_dtype(4, DType::f32));
    ATTN_RETURN_IF_ERROR(c.require_dtype(5, DType::f32));
    if (past.rank != 4 || past[0] != s.batch || past[1] != s.kv_heads || past[3] != s.qk_dim ||
        !(c.shape(5) == Shape{s.batch, s.kv_heads, past[2], s.v_dim}))
      return Status::invalid_input("has a past of shapes ", past.text(), " and ",
                                   c.shape(5).text());
    s.past_len = past[2];
  }
  s.kv_len = s.past_len + s.new_len;
  s.has_lengths = c.has(6);
  if (s.has_lengths) {
    ATTN_RETURN_IF_ERROR(c.require_dtype(6, DType::i64));
    if (c.shape(6).elements() != s.batch || c.has(4))
      return Status::invalid_input("has nonpad_kv_seqlen of shape ", c.shape(6).text(),
                                   c.has(4) ? " together with a past" : "");
  }
  return {};
}

static Status read_mask(const NodeView &c, AttentionShape &s) {
  s.mask_columns = 0;
  if (!c.has(3))
    return {};
  Shape full{s.batch, s.heads, s.q_len, s.kv_len}, mask = c.shape(3), wide;
  const bool repeats = mask.back() == 1 && c.graph.opset < 24; // since then one column is short
  s.mask_columns = repeats ? s.kv_len : mask.back();
  if (mask.rank && mask.back() < s.kv_len)
    mask[mask.rank - 1] = s.kv_len;
  if ((c.dtype(3) != DType::f32 && c.dtype(3) != DType::boolean) || s.mask_columns == 0 ||
      !graph::broadcast_shapes(full, mask, wide) || !(wide == full))
    return Status::invalid_input("has a mask ", c.in(3)->type.text(), " for scores of ",
                                 full.text());
  return {};
}

static Status read_attributes(const NodeView &c, AttentionShape &s) {
  s.causal = c.node.integer("is_causal", 0) != 0;
  s.softcap = c.node.number("softcap", 0);
  s.scale = c.node.number("scale", 0);
  if (s.scale == 0)
    s.scale = 1.0f / std::sqrt(static_cast<float>(s.qk_dim));
  s.left_window = c.node.integer("left_window_size", -1);
  s.right_window = c.node.integer("right_window_size", -1);
  if (s.left_window < -1 || s.right_window < -1)
    return Status::invalid_input("has a window of ", s.left_window, " and ", s.right_window,
                                 " keys; -1 (all) or more is allowed");
  // Scores are f32 at least, whatever narrower type is asked for.
  s.softmax_f64 =
      c.node.integer("softmax_precision", 0) == static_cast<int64_t>(onnx::DataType::f64);
  s.products = Products::none;
  if (c.node.outputs.size() > 3 && c.node.outputs[3] != graph::kAbsent) {
    int64_t mode = c.node.integer("qk_matmul_output_mode", 0);
    if (mode < 0 || mode > 3)
      return Status::invalid_input("has qk_matmul_output_mode ", mode, "; 0 to 3 are defined");
    s.products = static_cast<Products>(mode);
  }
  return {};
}

Status attention_shape(const NodeView &c, AttentionShape &s) {
  s.int8_cache = c.node.domain == "attn"; // see graph/quantise_caches.h
  for (size_t i = 0; i < 3; ++i)
    ATTN_RETURN_IF_ERROR(c.require_dtype(i, i > 0 && s.int8_cache ? DType::i8 : DType::f32));
  ATTN_RETURN_IF_ERROR(read_extents(c, s));
  ATTN_RETURN_IF_ERROR(read_cache(c, s));
  ATTN_RETURN_IF_ERROR(read_attributes(c, s));
  return read_mask(c, s);
}

Status infer_attention(InferContext &c) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(attention_shape(c, s));
  c.outputs.clear();
  c.outputs.push_back({DType::f32, s.rank3 ? Shape{s.batch, s.q_len, s.heads * s.v_dim}
                                           : Shape{s.batch, s.heads, s.q_len, s.v_dim}});
  c.outputs.push_back({DType::f32, {s.batch, s.kv_heads, s.kv_len, s.qk_dim}});
  c.outputs.push_back({DType::f32, {s.batch, s.kv_heads, s.kv_len, s.v_dim}});
  c.outputs.push_back({DType::f32, {s.batch, s.heads, s.q_len, s.kv_len}});
  return {};
}

HeadStrides head_strides(const Tensor &t, int64_t heads) {
  if (t.shape.rank == 4)
    return {t.strides[0], t.strides[1], t.strides[2]};
  return {t.strides[0], t.shape[2] / heads, t.strides[1]};
}

Tensor with_heads(const Tensor &t, int64_t heads) {
  if (t.shape.rank == 4)
    return t;
  const int64_t dim = t.shape[2] / heads;
  Tensor seen = t;
  seen.shape = {t.shape[0], heads, t.shape[1], dim};
  seen.strides = {t.strides[0], dim, t.strides[1], t.strides[2]};
  return seen;
}

void join_past(const Tensor *past, const Tensor &fresh, const Tensor &present) {
  Tensor part = present;
  if (past) {
    part.shape = past->shape;
    graph::copy_tensor(*past, part);
    part.data = part.as<float>() + past->shape[2] * present.strides[2];
  }
  Tensor from = with_heads(fresh, present.shape[1]);
  part.shape = from.shape;
  graph::copy_tensor(from, part);
}

} // namespace attn::ops
