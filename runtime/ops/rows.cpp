// Operators over rows: normalisation (with a fused modulation), softmax and
// reductions.
#include "runtime/ops/ops.h"
#include <cmath>
#include <limits>

namespace attn::ops {

// ---- LayerNormalization, RMSNormalization, attn::Norm ------------------------
// attn::Norm has inputs X, gamma, beta, scale, shift (any but X may be absent).

Status infer_norm(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  const Shape &x = c.shape(0);
  int axis;
  ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", -1), x.rank, axis));
  int64_t n = 1;
  for (int i = axis; i < x.rank; ++i)
    n *= x[i];
  if (n == 0)
    return Status::invalid_input("normalises over no elements");
  if (c.node.outputs.size() > 1)
    return Status::invalid_input("asks for the mean or deviation, which is not run");
  for (size_t i = 1; i <= 2; ++i)
    if (c.has(i)) {
      ATTN_RETURN_IF_ERROR(c.require_dtype(i, DType::f32));
      if (c.shape(i).elements() != n)
        return Status::invalid_input("has weights of shape ", c.shape(i).text(), " for rows of ",
                                     n);
    }
  c.set({DType::f32, x});
  return {};
}

KernelResult make_norm(const MakeContext &c) {
  // Several normalised axes lie dense, as the plan sees to: they are one row.
  Shape shape = c.outputs[0].shape, x_strides = c.inputs[0].strides,
        y_strides = c.outputs[0].strides;
  for (int axis = graph::first_normalised_axis(c.node, shape.rank); shape.rank - 1 > axis;) {
    shape[shape.rank - 2] *= shape[shape.rank - 1];
    x_strides[shape.rank - 2] = y_strides[shape.rank - 2] = 1;
    x_strides.rank = y_strides.rank = --shape.rank;
  }
  RowWalk x(shape, x_strides), y(shape, y_strides), modulation[2];
  bool has[5] = {};
  for (size_t i = 1; i < c.inputs.size() && i < 5; ++i) {
    has[i] = c.has(i);
    if (i >= 3 && has[i])
      modulation[i - 3] = RowWalk(shape, graph::broadcast_strides(shape, c.inputs[i]));
  }
  NormRow base{};
  base.n = shape.back();
  base.epsilon = c.node.number("epsilon", 1e-5f);
  base.centered = c.node.op == "LayerNormalization" ||
                  (c.node.domain == "attn" && c.node.integer("centered", 1) != 0);
  int64_t rows = shape.elements() / std::max<int64_t>(shape.back(), 1);
  // The walks merge dims of their own strides: row numbers mean the same in all.
  return make_kernel([=, &table = isa()](const RunArgs &args) {
    auto data = [&](size_t i) { return has[i] ? args.in[i]->as<float>() : nullptr; };
    const float *gamma = data(1), *beta = data(2), *scale = data(3), *shift = data(4);
    for_rows(args.pool, rows, rows * base.n, [&](int64_t begin, int64_t end) {
      NormRow row = base;
      row.gamma = gamma;
      row.beta = beta;
      for (int64_t r = begin; r < end; ++r) {
        row.x = args.in[0]->as<float>() + x.offset(r);
        row.y = args.out[0]->as<float>() + y.offset(r);
        row.scale = scale ? scale + modulation[0].offset(r) : nullptr;
        row.shift = shift ? shift + modulation[1].offset(r) : nullptr;
        table.norm(row);
      }
    });
    return Status();
  });
}

// ---- Softmax ------------------------------------------------------------------

Status infer_softmax(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  if (c.dtype(0) != DType::f64)
    ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  int axis;
  ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", -1), c.shape(0).rank, axis));
  if (axis != c.shape(0).rank - 1)
    return Status::invalid_input("is over axis ", axis, "; only the last one is run");
  c.set({c.dtype(0), c.shape(0)});
  return {};
}

KernelResult make_softmax(const MakeContext &c) {
  const Shape &shape = c.outputs[0].shape;
  if (shape.back() > 1 && c.inputs[0].strides.back() != 1)
    return Status::internal("softmax needs dense rows");
  RowWalk x(shape, c.inputs[0].strides), y(shape, c.outputs[0].strides);
  int64_t n = shape.back(), rows = n ? shape.elements() / n : 0;
  if (c.outputs[0].dtype == DType::f64)
    return make_kernel([=](const RunArgs &args) {
      for (int64_t r = 0; r < rows; ++r)
        softmax_f64(args.in[0]->as<double>() + x.offset(r), args.out[0]->as<double>() + y.offset(r),
                    n);
      return Status();
    });
  return make_kernel([=, &table = isa()](const RunArgs &args) {
    for_rows(args.pool, rows, rows * n * 4, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        table.softmax(args.in[0]->as<float>() + x.offset(r), args.out[0]->as<float>() + y.offset(r),
                      n);
    });
    return Status();
  });
}

// ---- Reductions ----------------------------------------------------------------

static Status reduced_axes(const NodeView &c, bool (&reduced)[graph::kMaxRank]) {
  const Shape &x = c.shape(0);
  std::vector<int64_t> axes;
  if (c.has(1)) {
    ATTN_ASSIGN_OR_RETURN(axes, c.constant_integers(1));
  } else {
    auto given = c.node.integers("axes"); // before opset 18
    axes.assign(given.begin(), given.end());
  }
  if (axes.empty() && !c.node.integer("noop_with_empty_axes", 0))
    for (int i = 0; i < x.rank; ++i)
      axes.push_back(i);
  for (int64_t a : axes) {
    int axis;
    ATTN_RETURN_IF_ERROR(graph::resolve_axis(a, x.rank, axis));
    reduced[axis] = true;
  }
  return {};
}

Status infer_reduce(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  bool reduced[graph::kMaxRank] = {};
  ATTN_RETURN_IF_ERROR(reduced_axes(c, reduced));
  Shape out;
  for (int i = 0; i < c.shape(0).rank; ++i) {
    if (!reduced[i])
      out.push(c.shape(0)[i]);
    else if (c.node.integer("keepdims", 1))
      out.push(1);
  }
  c.set({DType::f32, out});
  return {};
}

KernelResult make_reduce(const MakeContext &c) {
  bool reduced[graph::kMaxRank] = {};
  ATTN_RETURN_IF_ERROR(reduced_axes(c, reduced));
  Shape kept, kept_strides, inner, inner_strides;
  const Tensor &x = c.inputs[0];
  for (int i = 0; i < x.shape.rank; ++i) {
    (reduced[i] ? inner : kept).push(x.shape[i]);
    (reduced[i] ? inner_strides : kept_strides).push(x.strides[i]);
  }
  std::string op = c.node.op;
  int64_t n = inner.elements();
  if (n == 0)
    return Status::invalid_input("reduces no elements");
  return make_kernel([=](const RunArgs &args) {
    float *y = args.out[0]->as<float>(); // dense
    for_each_element<1>(kept, {kept_strides}, [&](const int64_t *at) {
      const float *p = args.in[0]->as<float>() + at[0];
      double total = 0;
      float best = op == "ReduceMax" ? -std::numeric_limits<float>::infinity()
                                     : std::numeric_limits<float>::infinity();
      for_each_element<1>(inner, {inner_strides}, [&](const int64_t *k) {
        float v = p[k[0]];
        total += v;
        best = op == "ReduceMax" ? std::max(best, v) : std::min(best, v);
      });
      if (op == "ReduceMean")
        *y++ = static_cast<float>(total / static_cast<double>(n));
      else
        *y++ = op == "ReduceSum" ? static_cast<float>(total) : best;
    });
    return Status();
  });
}

} // namespace attn::ops
