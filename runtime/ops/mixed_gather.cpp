// attn::MixedGather: table, indices [parts, n], weights [parts] -> [1, n, ...], the rows of a
// table that each part names, added by weight.
#include "runtime/ops/ops.h"

#if defined(__clang__)
#pragma clang fp contract(off) // the same bits on every machine
#endif

namespace attn::ops {

Status infer_mixed_gather(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  ATTN_RETURN_IF_ERROR(c.require_dtype(1, DType::i64));
  ATTN_RETURN_IF_ERROR(c.require_dtype(2, DType::f32));
  const Shape &table = c.shape(0), &indices = c.shape(1);
  if (table.rank < 1 || table.rank + 1 > graph::kMaxRank || indices.rank != 2 ||
      c.shape(2).rank != 1 || c.shape(2)[0] != indices[0])
    return Status::invalid_input("cannot mix rows of ", table.text(), " by ", indices.text(),
                                 " with weights ", c.shape(2).text());
  Shape out{1, indices[1]};
  for (int i = 1; i < table.rank; ++i)
    out.push(table[i]);
  c.set({DType::f32, out});
  return {};
}

KernelResult make_mixed_gather(const MakeContext &c) {
  const Shape table = c.inputs[0].shape, indices = c.inputs[1].shape;
  const int64_t parts = indices[0], count = indices[1], rows = table[0];
  const int64_t width = rows ? table.elements() / rows : 0;
  std::string label = c.node.label();
  return make_kernel([=](const RunArgs &args) {
    const float *from = args.in[0]->as<float>(), *weights = args.in[2]->as<float>();
    const int64_t *at = args.in[1]->as<int64_t>();
    for (int64_t i = 0; i < count; ++i) {
      float *to = args.out[0]->as<float>() + i * width;
      std::fill_n(to, width, 0.0f);
      bool first = true;
      for (int64_t p = 0; p < parts; ++p) {
        if (weights[p] == 0)
          continue;
        const int64_t row = at[p * count + i];
        if (row < 0 || row >= rows)
          return Status::invalid_input("index ", row, " is outside 0..", rows - 1).at(label);
        const float *x = from + row * width;
        for (int64_t k = 0; k < width; ++k) // the first is not added to 0: -0 stays -0
          to[k] = first ? weights[p] * x[k] : to[k] + weights[p] * x[k];
        first = false;
      }
    }
    return Status();
  });
}

} // namespace attn::ops
