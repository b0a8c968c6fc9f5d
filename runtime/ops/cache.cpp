// Writing into a key or value cache, and rotating keys and queries by their
// positions.
#include "runtime/graph/copy.h"
#include "runtime/ops/ops.h"
#include "runtime/ops/rope.h"
#include <cstring>

namespace attn::ops {

// ---- TensorScatter -----------------------------------------------------------

Status infer_tensor_scatter(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the cache"));
  ATTN_RETURN_IF_ERROR(c.require(1, "the update"));
  const Shape &cache = c.shape(0), &update = c.shape(1);
  int axis;
  ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", -2), cache.rank, axis));
  if (axis == 0 || c.dtype(0) != c.dtype(1) || update.rank != cache.rank ||
      update[axis] > cache[axis])
    return Status::invalid_input("cannot write ", c.in(1)->type.text(), " into ",
                                 c.in(0)->type.text(), " along axis ", axis);
  for (int i = 0; i < cache.rank; ++i)
    if (i != axis && update[i] != cache[i])
      return Status::invalid_input("cannot write ", update.text(), " into ", cache.text());
  if (c.has(2)) {
    ATTN_RETURN_IF_ERROR(c.require_dtype(2, DType::i64));
    if (c.shape(2).elements() != cache[0])
      return Status::invalid_input("has ", c.shape(2).elements(), " write indices for a batch of ",
                                   cache[0]);
  }
  std::string mode = c.node.text("mode", "linear");
  if (mode != "linear" && mode != "circular")
    return Status::invalid_input("has mode '", mode, "'; linear and circular are run");
  c.set({c.dtype(0), cache});
  return {};
}

KernelResult make_tensor_scatter(const MakeContext &c) {
  int axis;
  ATTN_RETURN_IF_ERROR(
      graph::resolve_axis(c.node.integer("axis", -2), c.outputs[0].shape.rank, axis));
  bool circular = c.node.text("mode", "linear") == "circular", has_indices = c.has(2);
  std::string label = c.node.label();
  return make_kernel([=](const RunArgs &args) {
    const Tensor &cache = *args.out[0], &update = *args.in[1];
    if (args.in[0]->data != cache.data) // otherwise the cache is written in place
      graph::copy_tensor(*args.in[0], cache);
    const int64_t slots = cache.shape[axis], rows = update.shape[axis];
    const int64_t size = static_cast<int64_t>(graph::dtype_size(cache.dtype));
    for (int64_t b = 0; b < cache.shape[0]; ++b) {
      int64_t at = has_indices ? args.in[2]->as<int64_t>()[b] : 0;
      if (at < 0 || at >= slots || (!circular && at + rows > slots))
        return Status::invalid_input("writes ", rows, " rows at ", at, " of a cache of ", slots)
            .at(label);
      // Circular writes may wrap: two runs then.
      for (int64_t done = 0; done < rows;) {
        int64_t run = std::min(rows - done, slots - at);
        Tensor from = update, to = cache;
        from.shape[0] = to.shape[0] = 1;
        from.shape[axis] = run;
        to.shape = from.shape;
        from.data =
            update.as<char>() + (b * update.strides[0] + done * update.strides[axis]) * size;
        to.data = cache.as<char>() + (b * cache.strides[0] + at * cache.strides[axis]) * size;
        graph::copy_tensor(from, to);
        cache.count_writes(at, run);
        done += run;
        at = (at + run) % slots;
      }
    }
    return Status();
  });
}

// ---- RotaryEmbedding -----------------------------------------------------------

Status rope_shape(const NodeView &c, RopeShape &s) {
  const Shape &x = c.shape(0);
  if (x.rank == 4) {
    s = {x[0], x[1], x[2], x[3], 0, false, false};
  } else if (x.rank == 3) {
    int64_t heads = c.node.integer("num_heads", 0);
    if (heads <= 0 || x[2] % heads)
      return Status::invalid_input("has num_heads ", heads, " for rows of ", x[2]);
    s = {x[0], heads, x[1], x[2] / heads, 0, false, false};
  } else {
    return Status::invalid_input("rotates a tensor of shape ", x.text(), "; rank 3 or 4 is run");
  }
  s.interleaved = c.node.integer("interleaved", 0) != 0;
  s.rotated = c.node.integer("rotary_embedding_dim", 0);
  s.rotated = s.rotated ? s.rotated : s.dim;
  s.has_positions = c.has(3);
  if (s.rotated > s.dim || s.rotated % 2)
    return Status::invalid_input("rotates ", s.rotated, " of ", s.dim, " elements");
  return {};
}

RopeStrides rope_strides(const Tensor &t, const RopeShape &s) {
  if (t.shape.rank == 4)
    return {t.strides[0], t.strides[1], t.strides[2]};
  return {t.strides[0], s.dim, t.strides[1]};
}

void rope_row(const Isa &table, const RopeShape &s, const float *x, const float *cosine,
              const float *sine, float *y) {
  table.rope(x, cosine, sine, y, s.rotated / 2, s.interleaved);
  if (s.rotated < s.dim)
    std::memcpy(y + s.rotated, x + s.rotated, static_cast<size_t>(s.dim - s.rotated) * 4);
}

Status check_rope_position(int64_t position, int64_t rows) {
  if (position >= 0 && position < rows)
    return {};
  return Status::invalid_input("position ", position, " is outside the table's 0..", rows - 1);
}

Status infer_rope(InferContext &c) {
  for (size_t i = 0; i < 3; ++i)
    ATTN_RETURN_IF_ERROR(c.require_dtype(i, DType::f32));
  RopeShape s;
  ATTN_RETURN_IF_ERROR(rope_shape(c, s));
  const Shape &cosine = c.shape(1);
  bool fits = cosine == c.shape(2) && cosine.back() == s.rotated / 2;
  if (s.has_positions) {
    ATTN_RETURN_IF_ERROR(c.require_dtype(3, DType::i64));
    fits &= cosine.rank == 2 && c.shape(3) == Shape{s.batch, s.tokens};
  } else {
    fits &= cosine.rank == 3 && cosine[0] == s.batch && cosine[1] == s.tokens;
  }
  if (!fits)
    return Status::invalid_input("has tables of ", cosine.text(), " and ", c.shape(2).text(),
                                 " for an input of ", c.shape(0).text());
  c.set({DType::f32, c.shape(0)});
  return {};
}

KernelResult make_rope(const MakeContext &c) {
  RopeShape s;
  ATTN_RETURN_IF_ERROR(rope_shape(c, s));
  RopeStrides in = rope_strides(c.inputs[0], s), out = rope_strides(c.outputs[0], s);
  int64_t half = s.rotated / 2, table_rows = c.inputs[1].shape[0];
  std::string label = c.node.label();
  return make_kernel([=, &table = isa()](const RunArgs &args) {
    const float *cosine = args.in[1]->as<float>(), *sine = args.in[2]->as<float>();
    const int64_t *positions = s.has_positions ? args.in[3]->as<int64_t>() : nullptr;
    if (positions)
      for (int64_t i = 0; i < s.batch * s.tokens; ++i)
        ATTN_RETURN_IF_ERROR(check_rope_position(positions[i], table_rows).at(label));
    int64_t rows = s.batch * s.heads * s.tokens;
    for_rows(args.pool, rows, rows * s.dim, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        int64_t token = r % s.tokens, head = r / s.tokens % s.heads, b = r / s.tokens / s.heads;
        int64_t row = b * s.tokens + token;
        int64_t at = (positions ? positions[row] : row) * half;
        rope_row(table, s,
                 args.in[0]->as<float>() + b * in.batch + head * in.head + token * in.token,
                 cosine + at, sine + at,
                 args.out[0]->as<float>() + b * out.batch + head * out.head + token * out.token);
      }
    });
    return Status();
  });
}

} // namespace attn::ops
