// DequantizeLinear: y = (x - zero point) * scale, with one scale for all or one for each
// index of an axis.
#include "runtime/ops/ops.h"

namespace attn::ops {

Status infer_dequantise(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "what is quantised"));
  ATTN_RETURN_IF_ERROR(c.require_dtype(1, DType::f32));
  if (c.dtype(0) != DType::i8 && c.dtype(0) != DType::u8)
    return Status::invalid_input("dequantises ", dtype_name(c.dtype(0)),
                                 "; int8 and uint8 are run");
  if (c.node.integer("block_size", 0) != 0)
    return Status::invalid_input("has scales of blocks; one for all or one per index of an axis "
                                 "are run");
  const int64_t scales = c.shape(1).elements();
  int axis = 0;
  if (c.shape(1).rank > 0)
    ATTN_RETURN_IF_ERROR(
        graph::resolve_axis(c.node.integer("axis", 1), std::max(c.shape(0).rank, 1), axis));
  if (c.shape(1).rank > 1 || (c.shape(1).rank == 1 && scales != 1 && scales != c.shape(0)[axis]))
    return Status::invalid_input("has scales of shape ", c.shape(1).text(), " for axis ", axis,
                                 " of ", c.shape(0).text());
  if (c.has(2) && (c.dtype(2) != c.dtype(0) || c.shape(2).elements() != scales))
    return Status::invalid_input("has zero points ", c.in(2)->type.text(), " for ", scales,
                                 " scales of ", dtype_name(c.dtype(0)));
  c.set({DType::f32, c.shape(0)});
  return {};
}

KernelResult make_dequantise(const MakeContext &c) {
  const Shape &shape = c.outputs[0].shape;
  const bool is_signed = c.dtype(0) == DType::i8, has_zero = c.has(2);
  int64_t inner = shape.elements(), period = 1; // element i has scale i / inner % period
  if (c.shape(1).elements() != 1) {
    int axis;
    ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", 1), shape.rank, axis));
    period = shape[axis];
    inner = 1;
    for (int i = axis + 1; i < shape.rank; ++i)
      inner *= shape[i];
  }
  const int64_t total = shape.elements();
  return make_kernel([=](const RunArgs &args) {
    auto value = [&](size_t input, int64_t i) -> float {
      return is_signed ? args.in[input]->as<int8_t>()[i] : args.in[input]->as<uint8_t>()[i];
    };
    const float *scales = args.in[1]->as<float>();
    float *y = args.out[0]->as<float>();
    for_rows(args.pool, total, total, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t s = i / inner % period;
        y[i] = (value(0, i) - (has_zero ? value(2, s) : 0)) * scales[s];
      }
    });
    return Status();
  });
}

} // namespace attn::ops
