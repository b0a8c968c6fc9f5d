// MatMul, Gemm and their fused forms: types, weights packed when made, products
// at run time.
#include "runtime/ops/matmul.h"

#include "runtime/ops/ops.h"

namespace attn::ops {

// ---- Types ---------------------------------------------------------------------

Status infer_matmul(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  ATTN_RETURN_IF_ERROR(c.require_dtype(1, DType::f32));
  Shape a = c.shape(0), b = c.shape(1);
  auto refuse = [&] {
    return Status::invalid_input("cannot multiply ", c.shape(0).text(), " by ", c.shape(1).text());
  };
  if (a.rank < 1 || b.rank < 2)
    return refuse();
  bool vector = a.rank == 1;
  if (vector)
    a = {1, a[0]};
  if (a.back() != b[b.rank - 2])
    return refuse();
  Shape a_batch, b_batch, out;
  for (int i = 0; i + 2 < a.rank; ++i)
    a_batch.push(a[i]);
  for (int i = 0; i + 2 < b.rank; ++i)
    b_batch.push(b[i]);
  if (!graph::broadcast_shapes(a_batch, b_batch, out))
    return refuse();
  if (!vector)
    out.push(a[a.rank - 2]);
  out.push(b.back());
  c.set({DType::f32, out});
  return {};
}

struct GemmSizes {
  int64_t m, k, n;
  bool trans_a, trans_b;
};

static Status gemm_sizes(const NodeView &c, GemmSizes &s) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  ATTN_RETURN_IF_ERROR(c.require_dtype(1, DType::f32));
  const Shape &a = c.shape(0), &b = c.shape(1);
  s.trans_a = c.node.integer("transA", 0) != 0;
  s.trans_b = c.node.integer("transB", 0) != 0;
  if (a.rank != 2 || b.rank != 2 || (s.trans_a ? a[0] : a[1]) != (s.trans_b ? b[1] : b[0]))
    return Status::invalid_input("cannot multiply ", a.text(), " by ", b.text());
  s.m = s.trans_a ? a[1] : a[0];
  s.k = s.trans_a ? a[0] : a[1];
  s.n = s.trans_b ? b[0] : b[1];
  if (c.has(2)) {
    ATTN_RETURN_IF_ERROR(c.require_dtype(2, DType::f32));
    Shape full{s.m, s.n}, wide;
    if (!graph::broadcast_shapes(full, c.shape(2), wide) || !(wide == full))
      return Status::invalid_input("cannot add ", c.shape(2).text(), " to ", full.text());
  }
  return {};
}

Status infer_gemm(InferContext &c) {
  GemmSizes s;
  ATTN_RETURN_IF_ERROR(gemm_sizes(c, s));
  c.set({DType::f32, {s.m, s.n}});
  return {};
}

// attn::Gemm: A [..., k], constant B [k, n], bias [n]?, gate?, residual?, scales of an int8 B [n]
// or [1]?; made by the fusion pass, which has checked the shapes.
Status infer_fused_gemm(InferContext &c) {
  Shape out = c.shape(0);
  out[out.rank - 1] = c.shape(1).back();
  c.set({DType::f32, out});
  return {};
}

// attn::GemmGroup: A, then B and bias of each product.
Status infer_gemm_group(InferContext &c) {
  c.outputs.clear();
  for (size_t i = 0; i < c.node.outputs.size(); ++i) {
    Shape out = c.shape(0);
    out[out.rank - 1] = c.shape(1 + 2 * i).back();
    c.outputs.push_back({DType::f32, out});
  }
  return {};
}

// ---- Kernels --------------------------------------------------------------------

static Status no_memory() { return Status::environment("no memory for packed weights"); }

static Activation activation_of(const std::string &name) {
  static const std::pair<const char *, Activation> names[] = {
      {"relu", Activation::relu},         {"gelu_tanh", Activation::gelu_tanh},
      {"gelu_erf", Activation::gelu_erf}, {"silu", Activation::silu},
      {"sigmoid", Activation::sigmoid},   {"tanh", Activation::tanh}};
  for (auto &[text, value] : names)
    if (name == text)
      return value;
  return Activation::none;
}

// Fewer rows are bound by memory and by rounding, not by arithmetic.
static constexpr int64_t kFewestBf16Rows = 8;

// From so many rows on, packing a weight at every run costs less than a copy of it is worth.
static constexpr int64_t kFewestUnpackedRows = 1024;

// The weight that is constant input `b` of a node: as it lies there if it is in panels.
static bool hold_weight(const MakeContext &c, size_t b, const WeightSource &source, int64_t k,
                        int64_t n, float alpha, const float *bias, int64_t bias_step, float beta,
                        PackedWeight &out) {
  if (!c.in(b)->panel_columns)
    return pack_weight(source, k, n, alpha, bias, bias_step, beta, out);
  out.mapped = static_cast<const float *>(source.data);
  return size_weight(k, n, bias, bias_step, beta, out);
}

// The constant of input `b`, with the scales of input `scales` where it is int8.
static WeightSource source_of(const MakeContext &c, size_t b, size_t scales) {
  const Tensor &t = c.inputs[b];
  WeightSource source{t.data, t.dtype, t.strides[0], t.strides[1], nullptr, 0};
  if (scales < c.inputs.size() && c.has(scales)) {
    source.scales = c.inputs[scales].as<float>();
    source.scale_step = c.inputs[scales].elements() == 1 ? 0 : 1;
  }
  return source;
}

static Status pack_input(const MakeContext &c, size_t b, size_t bias, size_t scales,
                         PackedWeight &out) {
  const WeightSource source = source_of(c, b, scales);
  const int64_t k = c.inputs[b].shape[0], n = c.inputs[b].shape[1];
  const float *add = bias < c.inputs.size() ? c.inputs[bias].as<float>() : nullptr;
  const int64_t bias_step = add && c.inputs[bias].elements() == 1 ? 0 : 1;
  const int64_t rows = n ? c.outputs[0].elements() / c.outputs[0].shape.back() : 0;
  const Bf16Unit *unit = c.bf16 ? bf16_unit() : nullptr;
  // Copies of constants are dropped when all kernels are made.
  const bool stays = !c.in(b)->owner && !c.in(b)->panel_columns;
  if (!unit && stays && rows >= kFewestUnpackedRows && k > 0) {
    out.source = source;
    return size_weight(k, n, add, bias_step, 1.0f, out) ? Status() : no_memory();
  }
  if (!hold_weight(c, b, source, k, n, 1.0f, add, bias_step, 1.0f, out))
    return no_memory();
  if (unit && rows >= kFewestBf16Rows && !convert_weight(*unit, rows, out))
    return no_memory();
  return {};
}

KernelResult make_fused_gemm(const MakeContext &c) {
  auto weight = std::make_shared<PackedWeight>();
  ATTN_RETURN_IF_ERROR(pack_input(c, 1, 2, 5, *weight));
  int64_t rows = c.outputs[0].elements() / weight->n;
  Product p;
  p.weight = weight.get();
  p.activation = activation_of(c.node.text("activation", ""));
  bool has_gate = c.has(3), has_residual = c.has(4);
  if (has_gate) {
    // One gate row for `rows_per_gate` rows, stepping along the one outer axis it has.
    const Shape &shape = c.outputs[0].shape;
    Shape strides = graph::broadcast_strides(shape, c.inputs[3]);
    p.rows_per_gate = rows;
    int64_t inner = 1;
    for (int i = shape.rank - 2; i >= 0; inner *= shape[i], --i)
      if (strides[i] != 0 && shape[i] != 1) {
        p.rows_per_gate = inner;
        p.gate_ld = strides[i];
      }
    p.rows_per_gate = std::max<int64_t>(p.rows_per_gate, 1);
  }
  return make_kernel([=](const RunArgs &args) {
    Product job = p;
    job.weight = weight.get();
    job.c = args.out[0]->as<float>();
    job.gate = has_gate ? args.in[3]->as<float>() : nullptr;
    job.residual = has_residual ? args.in[4]->as<float>() : nullptr;
    return run_products(args.pool, args.in[0]->as<float>(), rows, &job, 1);
  });
}

KernelResult make_gemm_group(const MakeContext &c) {
  constexpr size_t kMost = 8;
  size_t count = c.outputs.size();
  if (count > kMost)
    return Status::internal("a group of ", count, " products");
  auto weights = std::make_shared<std::vector<PackedWeight>>(count);
  for (size_t i = 0; i < count; ++i)
    ATTN_RETURN_IF_ERROR(pack_input(c, 1 + 2 * i, 2 + 2 * i, c.inputs.size(), (*weights)[i]));
  int64_t rows = c.outputs[0].elements() / (*weights)[0].n;
  return make_kernel([=](const RunArgs &args) {
    Product jobs[kMost];
    for (size_t i = 0; i < count; ++i) {
      jobs[i].weight = &(*weights)[i];
      jobs[i].c = args.out[i]->as<float>();
    }
    return run_products(args.pool, args.in[0]->as<float>(), rows, jobs, static_cast<int>(count));
  });
}

// Both sides are computed: B is packed at every run.
static KernelResult make_batched(const MakeContext &c) {
  Tensor a = c.inputs[0], b = c.inputs[1], out = c.outputs[0];
  int64_t m = a.shape.rank > 1 ? a.shape[a.shape.rank - 2] : 1, k = a.shape.back(),
          n = b.shape.back();
  Shape batch, a_strides, b_strides;
  int batch_rank = out.shape.rank - (a.shape.rank > 1 ? 2 : 1);
  for (int i = 0; i < batch_rank; ++i) {
    auto stride = [&](const Tensor &t) -> int64_t {
      int j = i - (batch_rank - (t.shape.rank - 2));
      return j < 0 || t.shape[j] == 1 ? 0 : t.strides[j];
    };
    batch.push(out.shape[i]);
    a_strides.push(stride(a));
    b_strides.push(stride(b));
  }
  int64_t row = b.strides[b.shape.rank - 2], column = b.strides[b.shape.rank - 1];
  auto weight = std::make_shared<PackedWeight>();
  const int nr = isa().nr;
  weight->k = k;
  weight->n = n;
  weight->panels = (n + nr - 1) / nr;
  weight->data =
      AlignedMemory(static_cast<size_t>(std::max<int64_t>(weight->panels * k * nr, 16)) * 4);
  if (!weight->data.data())
    return no_memory();
  return make_kernel([=](const RunArgs &args) {
    float *packed = static_cast<float *>(weight->data.data());
    int64_t done = 0;
    Status status;
    for_each_element<2>(batch, {a_strides, b_strides}, [&](const int64_t *at) {
      const float *from = args.in[1]->as<float>() + at[1];
      for_rows(args.pool, weight->panels, k * n, [&](int64_t first, int64_t last) {
        pack_panels({from, DType::f32, row, column}, k, n, 1.0f, nr, first, last,
                    packed + first * k * nr);
      });
      Product p;
      p.weight = weight.get();
      p.c = args.out[0]->as<float>() + done++ * m * n;
      if (Status one = run_products(args.pool, args.in[0]->as<float>() + at[0], m, &p, 1);
          !one.ok())
        status = one;
    });
    return status;
  });
}

KernelResult make_matmul(const MakeContext &c) {
  const Tensor &b = c.inputs[1];
  if (!c.in(1)->is_constant() || b.shape.rank != 2)
    return make_batched(c);
  auto weight = std::make_shared<PackedWeight>();
  ATTN_RETURN_IF_ERROR(pack_input(c, 1, c.inputs.size(), c.inputs.size(), *weight));
  int64_t rows = weight->n ? c.outputs[0].elements() / weight->n : 0;
  return make_kernel([=](const RunArgs &args) {
    Product p;
    p.weight = weight.get();
    p.c = args.out[0]->as<float>();
    return run_products(args.pool, args.in[0]->as<float>(), rows, &p, 1);
  });
}

KernelResult make_gemm(const MakeContext &c) {
  GemmSizes s;
  ATTN_RETURN_IF_ERROR(gemm_sizes(c, s));
  AlignedMemory turned(s.trans_a ? static_cast<size_t>(std::max<int64_t>(s.m * s.k, 16)) * 4 : 64);
  if (!turned.data())
    return no_memory();
  auto transposed = std::make_shared<AlignedMemory>(std::move(turned));
  float alpha = c.node.number("alpha", 1.0f), beta = c.node.number("beta", 1.0f);
  bool has_bias = c.has(2), constant = c.in(1)->is_constant();
  const Tensor &b = c.inputs[1];
  // A bias that is one constant row rides with the weight; any other is added after.
  bool row_bias = has_bias && c.in(2)->is_constant() &&
                  c.shape(2).elements() == c.shape(2).back() &&
                  (c.shape(2).elements() == s.n || c.shape(2).elements() == 1);
  int64_t row = s.trans_b ? b.strides[1] : b.strides[0];
  int64_t column = s.trans_b ? b.strides[0] : b.strides[1];
  auto weight = std::make_shared<PackedWeight>();
  const int nr = isa().nr;
  if (constant) {
    const float *bias = row_bias ? c.inputs[2].as<float>() : nullptr;
    if (!hold_weight(c, 1, {b.data, b.dtype, row, column}, s.k, s.n, alpha, bias,
                     bias && c.shape(2).elements() == 1 ? 0 : 1, beta, *weight))
      return no_memory();
  } else {
    weight->k = s.k;
    weight->n = s.n;
    weight->panels = (s.n + nr - 1) / nr;
    weight->data =
        AlignedMemory(static_cast<size_t>(std::max<int64_t>(weight->panels * s.k * nr, 16)) * 4);
    if (!weight->data.data())
      return no_memory();
    row_bias = false;
  }
  Shape bias_strides, full{s.m, s.n};
  if (has_bias && !row_bias)
    bias_strides = graph::broadcast_strides(full, c.inputs[2]);
  return make_kernel([=](const RunArgs &args) {
    if (!constant)
      pack_panels({args.in[1]->data, DType::f32, row, column}, s.k, s.n, alpha, nr, 0,
                  weight->panels, static_cast<float *>(weight->data.data()));
    Product p;
    p.weight = weight.get();
    float *c_out = args.out[0]->as<float>();
    p.c = c_out;
    const float *a = args.in[0]->as<float>();
    if (s.trans_a) {
      float *to = static_cast<float *>(transposed->data());
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.k; ++j)
          to[i * s.k + j] = a[j * s.m + i];
      a = to;
    }
    ATTN_RETURN_IF_ERROR(run_products(args.pool, a, s.m, &p, 1));
    if (has_bias && !row_bias)
      for (int64_t i = 0; i < s.m; ++i)
        for (int64_t j = 0; j < s.n; ++j)
          c_out[i * s.n + j] +=
              beta * args.in[2]->as<float>()[i * bias_strides[0] + j * bias_strides[1]];
    return Status();
  });
}

} // namespace attn::ops
