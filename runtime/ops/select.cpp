// Clip, Where, Cast, comparisons and logic: strided loops over any types.
#include "runtime/base/half.h"
#include "runtime/ops/ops.h"
#include <cmath>
#include <limits>

namespace attn::ops {

Status infer_clip(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  c.set({c.dtype(0), c.shape(0)});
  return {};
}

KernelResult make_clip(const MakeContext &c) {
  Shape shape = c.outputs[0].shape, a = c.inputs[0].strides, b = c.outputs[0].strides;
  bool has_low = c.has(1), has_high = c.has(2);
  return make_kernel([=](const RunArgs &args) {
    float low = has_low ? *args.in[1]->as<float>() : -std::numeric_limits<float>::infinity();
    float high = has_high ? *args.in[2]->as<float>() : std::numeric_limits<float>::infinity();
    const float *x = args.in[0]->as<float>();
    float *y = args.out[0]->as<float>();
    for_each_element<2>(shape, {a, b}, [&](const int64_t *at) {
      float v = x[at[0]];
      v = v < low ? low : v;
      y[at[1]] = v > high ? high : v;
    });
    return Status();
  });
}

Status infer_where(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::boolean));
  ATTN_RETURN_IF_ERROR(c.require(1, "the first choice"));
  ATTN_RETURN_IF_ERROR(c.require(2, "the second choice"));
  Shape wide, out;
  if (!graph::broadcast_shapes(c.shape(1), c.shape(2), wide) ||
      !graph::broadcast_shapes(c.shape(0), wide, out))
    return Status::invalid_input("cannot combine shapes ", c.shape(0).text(), ", ",
                                 c.shape(1).text(), " and ", c.shape(2).text());
  if (c.dtype(1) != c.dtype(2))
    return Status::invalid_input("mixes ", dtype_name(c.dtype(1)), " and ", dtype_name(c.dtype(2)));
  c.set({c.dtype(1), out});
  return {};
}

template <typename T> static KernelResult make_where_of(const MakeContext &c) {
  Shape shape = c.outputs[0].shape, s[4];
  for (int i = 0; i < 3; ++i)
    s[i] = graph::broadcast_strides(shape, c.inputs[static_cast<size_t>(i)]);
  s[3] = c.outputs[0].strides;
  return make_kernel([=](const RunArgs &args) {
    const uint8_t *condition = args.in[0]->as<uint8_t>();
    const T *a = args.in[1]->as<T>(), *b = args.in[2]->as<T>();
    T *y = args.out[0]->as<T>();
    for_each_element<4>(shape, {s[0], s[1], s[2], s[3]}, [&](const int64_t *at) {
      y[at[3]] = condition[at[0]] ? a[at[1]] : b[at[2]];
    });
    return Status();
  });
}

KernelResult make_where(const MakeContext &c) {
  switch (graph::dtype_size(c.inputs[1].dtype)) {
  case 1:
    return make_where_of<uint8_t>(c);
  case 2:
    return make_where_of<uint16_t>(c);
  case 4:
    return make_where_of<uint32_t>(c);
  default:
    return make_where_of<uint64_t>(c);
  }
}

// ---- Cast -----------------------------------------------------------------

// CastLike is one whose second input is missing: the builder makes Casts of all others.
Status infer_cast(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  if (c.node.op == "CastLike")
    return c.require(1, "the tensor whose type is taken");
  DType to;
  ATTN_RETURN_IF_ERROR(
      graph::convert_type(static_cast<onnx::DataType>(c.node.integer("to", 0)), to));
  c.set({to, c.shape(0)});
  return {};
}

// Values travel as double, or as int64 between integer types: exact both ways.
static double load_real(const void *p, DType t, int64_t i) {
  switch (t) {
  case DType::f32:
    return static_cast<const float *>(p)[i];
  case DType::f64:
    return static_cast<const double *>(p)[i];
  case DType::f16:
    return f16_to_f32(static_cast<const uint16_t *>(p)[i]);
  case DType::bf16:
    return bf16_to_f32(static_cast<const uint16_t *>(p)[i]);
  default:
    return 0;
  }
}
static int64_t load_integer(const void *p, DType t, int64_t i) {
  switch (t) {
  case DType::i8:
    return static_cast<const int8_t *>(p)[i];
  case DType::u8:
  case DType::boolean:
    return static_cast<const uint8_t *>(p)[i];
  case DType::i16:
    return static_cast<const int16_t *>(p)[i];
  case DType::u16:
    return static_cast<const uint16_t *>(p)[i];
  case DType::i32:
    return static_cast<const int32_t *>(p)[i];
  case DType::u32:
    return static_cast<const uint32_t *>(p)[i];
  case DType::i64:
    return static_cast<const int64_t *>(p)[i];
  case DType::u64:
    return static_cast<int64_t>(static_cast<const uint64_t *>(p)[i]);
  default:
    return 0;
  }
}
static void store_integer(void *p, DType t, int64_t i, int64_t v) {
  switch (t) {
  case DType::i8:
  case DType::u8:
    static_cast<uint8_t *>(p)[i] = static_cast<uint8_t>(v);
    break;
  case DType::boolean:
    static_cast<uint8_t *>(p)[i] = v != 0;
    break;
  case DType::i16:
  case DType::u16:
    static_cast<uint16_t *>(p)[i] = static_cast<uint16_t>(v);
    break;
  case DType::i32:
  case DType::u32:
    static_cast<uint32_t *>(p)[i] = static_cast<uint32_t>(v);
    break;
  default:
    static_cast<int64_t *>(p)[i] = v;
  }
}
static void store_real(void *p, DType t, int64_t i, double v) {
  switch (t) {
  case DType::f32:
    static_cast<float *>(p)[i] = static_cast<float>(v);
    break;
  case DType::f64:
    static_cast<double *>(p)[i] = v;
    break;
  case DType::f16:
    static_cast<uint16_t *>(p)[i] = f32_to_f16(static_cast<float>(v));
    break;
  case DType::bf16:
    static_cast<uint16_t *>(p)[i] = f32_to_bf16(static_cast<float>(v));
    break;
  default:
    break;
  }
}
static bool is_real(DType t) {
  return t == DType::f32 || t == DType::f64 || t == DType::f16 || t == DType::bf16;
}

KernelResult make_cast(const MakeContext &c) {
  Shape shape = c.outputs[0].shape, a = c.inputs[0].strides, b = c.outputs[0].strides;
  DType from = c.inputs[0].dtype, to = c.outputs[0].dtype;
  return make_kernel([=](const RunArgs &args) {
    const void *x = args.in[0]->data;
    void *y = args.out[0]->data;
    for_each_element<2>(shape, {a, b}, [&](const int64_t *at) {
      if (is_real(from) && is_real(to)) {
        store_real(y, to, at[1], load_real(x, from, at[0]));
      } else if (is_real(from)) {
        double v = load_real(x, from, at[0]);
        if (to == DType::boolean)
          store_integer(y, to, at[1], v != 0);
        else // beyond the range, and NaN, are undefined in ONNX: 0 here
          store_integer(y, to, at[1], v > -9.2e18 && v < 9.2e18 ? static_cast<int64_t>(v) : 0);
      } else if (is_real(to)) {
        store_real(y, to, at[1], static_cast<double>(load_integer(x, from, at[0])));
      } else {
        store_integer(y, to, at[1], load_integer(x, from, at[0]));
      }
    });
    return Status();
  });
}

// ---- Comparisons and logic --------------------------------------------------

Status infer_compare(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the left side"));
  ATTN_RETURN_IF_ERROR(c.require(1, "the right side"));
  Shape out;
  if (c.dtype(0) != c.dtype(1) || !graph::broadcast_shapes(c.shape(0), c.shape(1), out))
    return Status::invalid_input("cannot compare ", c.in(0)->type.text(), " and ",
                                 c.in(1)->type.text());
  c.set({DType::boolean, out});
  return {};
}

template <typename T, typename Test>
static KernelResult compare_with(const MakeContext &c, Test test) {
  Shape shape = c.outputs[0].shape, out = c.outputs[0].strides;
  Shape a = graph::broadcast_strides(shape, c.inputs[0]);
  Shape b = graph::broadcast_strides(shape, c.inputs[1]);
  return make_kernel([=](const RunArgs &args) {
    const T *x = args.in[0]->as<T>(), *y = args.in[1]->as<T>();
    uint8_t *z = args.out[0]->as<uint8_t>();
    for_each_element<3>(shape, {a, b, out},
                        [&](const int64_t *at) { z[at[2]] = test(x[at[0]], y[at[1]]); });
    return Status();
  });
}

template <typename T> static KernelResult compare_of(const MakeContext &c) {
  const std::string &op = c.node.op;
  if (op == "Equal")
    return compare_with<T>(c, [](T a, T b) { return a == b; });
  if (op == "Less")
    return compare_with<T>(c, [](T a, T b) { return a < b; });
  if (op == "LessOrEqual")
    return compare_with<T>(c, [](T a, T b) { return a <= b; });
  if (op == "Greater")
    return compare_with<T>(c, [](T a, T b) { return a > b; });
  if (op == "And")
    return compare_with<T>(c, [](T a, T b) { return a && b; });
  if (op == "Or")
    return compare_with<T>(c, [](T a, T b) { return a || b; });
  return compare_with<T>(c, [](T a, T b) { return a >= b; });
}

KernelResult make_compare(const MakeContext &c) {
  switch (c.inputs[0].dtype) {
  case DType::f32:
    return compare_of<float>(c);
  case DType::f64:
    return compare_of<double>(c);
  case DType::i64:
    return compare_of<int64_t>(c);
  case DType::i32:
    return compare_of<int32_t>(c);
  case DType::u8:
  case DType::boolean:
    return compare_of<uint8_t>(c);
  default:
    return Status::invalid_input("is not run on ", dtype_name(c.inputs[0].dtype));
  }
}

Status infer_not(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::boolean));
  c.set({DType::boolean, c.shape(0)});
  return {};
}

KernelResult make_not(const MakeContext &c) {
  Shape shape = c.outputs[0].shape, a = c.inputs[0].strides, b = c.outputs[0].strides;
  return make_kernel([=](const RunArgs &args) {
    for_each_element<2>(shape, {a, b}, [&](const int64_t *at) {
      args.out[0]->as<uint8_t>()[at[1]] = !args.in[0]->as<uint8_t>()[at[0]];
    });
    return Status();
  });
}

} // namespace attn::ops
