// Attention-23/24 by the definition (ONNX 1.23's reading), row by row: the
// reference that runs where no compiled kernel is asked for.
#include "runtime/ops/attention.h"

#include "runtime/graph/quantise_caches.h"
#include "runtime/ops/kv_cache.h"
#include "runtime/ops/ops.h"
#include <cmath>
#include <limits>

namespace attn::ops {

Status attention_shape(const NodeView &c, AttentionShape &s) {
  s.int8_cache = c.node.domain == "attn"; // see graph/quantise_caches.h
  for (size_t i = 0; i < 3; ++i)
    ATTN_RETURN_IF_ERROR(c.require_dtype(i, i > 0 && s.int8_cache ? DType::i8 : DType::f32));
  const Shape &q = c.shape(0), &k = c.shape(1), &v = c.shape(2);
  if (q.rank != k.rank || q.rank != v.rank || (q.rank != 3 && q.rank != 4))
    return Status::invalid_input("has Q, K, V of shapes ", q.text(), ", ", k.text(), ", ",
                                 v.text());
  s.rank3 = q.rank == 3;
  if (s.rank3) {
    s.heads = c.node.integer("q_num_heads", 0);
    s.kv_heads = c.node.integer("kv_num_heads", 0);
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
    s.heads = q[1];
    s.kv_heads = k[1];
    s.q_len = q[2];
    s.new_len = k[2];
    s.qk_dim = q[3];
    s.v_dim = v[3];
    if (k[3] != q[3] || v[1] != k[1] || v[2] != k[2])
      return Status::invalid_input("has Q, K, V of shapes ", q.text(), ", ", k.text(), ", ",
                                   v.text());
  }
  s.batch = q[0];
  if (k[0] != s.batch || v[0] != s.batch || s.kv_heads == 0 || s.heads % s.kv_heads)
    return Status::invalid_input("has ", s.heads, " query heads over ", s.kv_heads,
                                 " key heads, batch ", s.batch, " over ", k[0]);
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
  s.causal = c.node.integer("is_causal", 0) != 0;
  s.softcap = c.node.number("softcap", 0);
  s.scale = c.node.number("scale", 0);
  if (s.scale == 0)
    s.scale = 1.0f / std::sqrt(static_cast<float>(s.qk_dim));
  if (c.has(3)) {
    Shape full{s.batch, s.heads, s.q_len, s.kv_len}, mask = c.shape(3), wide;
    if (mask.rank && mask.back() < s.kv_len && mask.back() != 1)
      mask[mask.rank - 1] = s.kv_len; // a short mask is padded with -inf
    if ((c.dtype(3) != DType::f32 && c.dtype(3) != DType::boolean) ||
        !graph::broadcast_shapes(full, mask, wide) || !(wide == full))
      return Status::invalid_input("has a mask ", c.in(3)->type.text(), " for scores of ",
                                   full.text());
  }
  for (const char *window : {"left_window_size", "right_window_size"})
    if (c.node.integer(window, -1) != -1)
      return Status::invalid_input("has ", window, ", which is not run: bind a spec to this node");
  return {};
}

Status infer_attention(InferContext &c) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(attention_shape(c, s));
  size_t outputs = c.node.outputs.size();
  if (outputs > 3)
    return Status::invalid_input("asks for the product of Q and K, which is never made");
  c.outputs.assign(outputs, {});
  c.outputs[0].dtype = DType::f32;
  c.outputs[0].shape = s.rank3 ? Shape{s.batch, s.q_len, s.heads * s.v_dim}
                               : Shape{s.batch, s.heads, s.q_len, s.v_dim};
  if (outputs > 1)
    c.outputs[1] = {DType::f32, {s.batch, s.kv_heads, s.kv_len, s.qk_dim}};
  if (outputs > 2)
    c.outputs[2] = {DType::f32, {s.batch, s.kv_heads, s.kv_len, s.v_dim}};
  return {};
}

HeadStrides head_strides(const Tensor &t, int64_t heads) {
  if (t.shape.rank == 4)
    return {t.strides[0], t.strides[1], t.strides[2]};
  return {t.strides[0], t.shape[2] / heads, t.strides[1]};
}

KernelResult make_reference_attention(const MakeContext &c) {
  AttentionShape s;
  ATTN_RETURN_IF_ERROR(attention_shape(c, s));
  HeadStrides q = head_strides(c.inputs[0], s.heads), k = head_strides(c.inputs[1], s.kv_heads),
              v = head_strides(c.inputs[2], s.kv_heads), o = head_strides(c.outputs[0], s.heads);
  bool has_past = c.has(4), has_mask = c.has(3);
  HeadStrides pk{}, pv{};
  if (has_past) {
    pk = head_strides(c.inputs[4], s.kv_heads);
    pv = head_strides(c.inputs[5], s.kv_heads);
  }
  Shape mask_strides;
  int64_t mask_columns = 0;
  bool mask_bool = false;
  if (has_mask) {
    Tensor mask = c.inputs[3];
    mask_bool = mask.dtype == DType::boolean;
    mask_columns = mask.shape.back() == 1 ? s.kv_len : mask.shape.back();
    Shape full{s.batch, s.heads, s.q_len, mask_columns};
    mask_strides = graph::broadcast_strides(full, mask);
  }
  size_t outputs = c.outputs.size();
  return make_kernel([=, &table = isa()](const RunArgs &args) {
    // A row of an int8 cache as f32, in `room`.
    auto wide = [&](size_t input, size_t scales, int64_t at, int64_t row, int64_t dim,
                    float *room) -> const float * {
      dequantise(args.in[input]->as<int8_t>() + at, args.in[scales]->as<float>()[row], room, dim);
      return room;
    };
    auto keys = [&](int64_t b, int64_t h, int64_t j, float *room) -> const float * {
      if (s.int8_cache)
        return wide(1, graph::kKeyScales, h * k.head + j * k.token, h * s.kv_len + j, s.qk_dim,
                    room);
      if (j < s.past_len)
        return args.in[4]->as<float>() + b * pk.batch + h * pk.head + j * pk.token;
      return args.in[1]->as<float>() + b * k.batch + h * k.head + (j - s.past_len) * k.token;
    };
    auto values = [&](int64_t b, int64_t h, int64_t j, float *room) -> const float * {
      if (s.int8_cache)
        return wide(2, graph::kValueScales, h * v.head + j * v.token, h * s.kv_len + j, s.v_dim,
                    room);
      if (j < s.past_len)
        return args.in[5]->as<float>() + b * pv.batch + h * pv.head + j * pv.token;
      return args.in[2]->as<float>() + b * v.batch + h * v.head + (j - s.past_len) * v.token;
    };
    const int64_t row_dim = std::max(s.qk_dim, s.v_dim);
    size_t row_bytes = static_cast<size_t>(s.kv_len + 16 + row_dim) * sizeof(float);
    if (!args.pool.reserve_arenas(row_bytes))
      return Status::environment("no memory for a row of ", s.kv_len, " scores");
    int64_t rows = s.batch * s.heads * s.q_len;
    args.pool.parallel_for(
        static_cast<uint32_t>(rows), 4, [&](uint32_t begin, uint32_t end, uint32_t thread) {
          float *room = static_cast<float *>(args.pool.arena(thread, row_bytes));
          float *score = room + row_dim;
          for (int64_t r = begin; r < end; ++r) {
            int64_t i = r % s.q_len, h = r / s.q_len % s.heads, b = r / s.q_len / s.heads;
            int64_t kv_head = h / (s.heads / s.kv_heads);
            int64_t length = s.kv_len, offset = s.past_len;
            if (s.has_lengths) {
              length = std::clamp<int64_t>(args.in[6]->as<int64_t>()[b], 0, s.kv_len);
              offset = length - s.q_len;
            }
            if (s.causal)
              length = std::clamp<int64_t>(i + offset + 1, 0, length);
            if (has_mask)
              length = std::min(length, mask_columns);
            const float *query = args.in[0]->as<float>() + b * q.batch + h * q.head + i * q.token;
            for (int64_t j = 0; j < length; ++j) {
              float x = s.scale * table.dot(query, keys(b, kv_head, j, room), s.qk_dim);
              if (s.softcap > 0)
                x = s.softcap * std::tanh(x / s.softcap);
              if (has_mask) {
                int64_t at = b * mask_strides[0] + h * mask_strides[1] + i * mask_strides[2] +
                             j * mask_strides[3];
                if (!mask_bool)
                  x += args.in[3]->as<float>()[at];
                else if (!args.in[3]->as<uint8_t>()[at])
                  x = -std::numeric_limits<float>::infinity();
              }
              score[j] = x;
            }
            table.softmax(score, score, length);
            float *out = args.out[0]->as<float>() + b * o.batch + h * o.head + i * o.token;
            std::fill(out, out + s.v_dim, 0.0f);
            for (int64_t j = 0; j < length; ++j)
              if (score[j] != 0)
                table.axpy(score[j], values(b, kv_head, j, room), out, s.v_dim);
          }
        });
    for (size_t i = 1; i < outputs; ++i) { // the present cache
      if (!args.out[i] || !args.out[i]->data)
        continue;
      int64_t dim = i == 1 ? s.qk_dim : s.v_dim;
      float *to = args.out[i]->as<float>();
      for (int64_t b = 0; b < s.batch; ++b)
        for (int64_t h = 0; h < s.kv_heads; ++h)
          for (int64_t j = 0; j < s.kv_len; ++j, to += dim) {
            const float *from = i == 1 ? keys(b, h, j, nullptr) : values(b, h, j, nullptr);
            std::copy(from, from + dim, to);
          }
    }
    return Status();
  });
}

KernelResult make_attention(const MakeContext &c) {
  return c.attention ? (*c.attention)(c) : make_reference_attention(c);
}

} // namespace attn::ops
