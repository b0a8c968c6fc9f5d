// Inference and kernels of all operators, by family (one .cpp each); the table
// that names them is registry.cpp.
#pragma once

#include "runtime/graph/op.h"
#include "runtime/graph/views.h"
#include "runtime/ops/isa.h"
#include <algorithm>
#include <cmath>
#include <limits>

namespace attn::ops {

using graph::DType;
using graph::dtype_name;
using graph::InferContext;
using graph::make_kernel;
using graph::MakeContext;
using graph::NodeView;
using graph::OpKernel;
using graph::RunArgs;
using graph::Shape;
using graph::Tensor;
using graph::TensorType;
using KernelResult = Result<std::unique_ptr<OpKernel>>;

#define ATTN_OP(NAME)                                                                              \
  Status infer_##NAME(InferContext &c);                                                            \
  KernelResult make_##NAME(const MakeContext &c);
ATTN_OP(elementwise) // elementwise.cpp
ATTN_OP(clip)        // select.cpp
ATTN_OP(where)
ATTN_OP(cast)
ATTN_OP(compare)
ATTN_OP(not )
ATTN_OP(matmul) // matmul.cpp
ATTN_OP(gemm)
ATTN_OP(fused_gemm)
ATTN_OP(gemm_group)
ATTN_OP(conv) // conv.cpp
ATTN_OP(norm) // rows.cpp
ATTN_OP(softmax)
ATTN_OP(reduce)
ATTN_OP(rope) // cache.cpp
ATTN_OP(tensor_scatter)
ATTN_OP(quantised_scatter) // kv_cache.cpp
KernelResult make_rope_cache(const MakeContext &c);
ATTN_OP(attention) // attention.cpp
ATTN_OP(dequantise) // quantise.cpp
ATTN_OP(copy)      // movement.cpp
ATTN_OP(concat)
ATTN_OP(gather)
ATTN_OP(mixed_gather) // mixed_gather.cpp
ATTN_OP(pad)
ATTN_OP(shape)
ATTN_OP(range)
ATTN_OP(constant_of_shape)
#undef ATTN_OP

// Visits every index of `shape` in order and calls body(offsets), where
// offsets[i] is operand i's element offset by strides[i].
template <int N, typename Body>
void for_each_element(const Shape &shape, const Shape (&strides)[N], Body &&body) {
  int64_t offset[N] = {}, index[graph::kMaxRank] = {};
  int64_t total = shape.elements();
  for (int64_t k = 0; k < total; ++k) {
    body(offset);
    for (int d = shape.rank - 1; d >= 0; --d) {
      ++index[d];
      for (int i = 0; i < N; ++i)
        offset[i] += strides[i][d];
      if (index[d] < shape[d])
        break;
      for (int i = 0; i < N; ++i)
        offset[i] -= strides[i][d] * shape[d];
      index[d] = 0;
    }
  }
}

// Rows of a tensor: all dims but the last. offset(r) is row r's first element.
class RowWalk {
public:
  RowWalk() = default;
  RowWalk(const Shape &shape, const Shape &strides) {
    for (int i = 0; i + 1 < shape.rank; ++i) {
      if (shape[i] == 1)
        continue;
      int last = size_.rank - 1;
      if (last >= 0 && stride_[last] == strides[i] * shape[i]) {
        size_[last] *= shape[i];
        stride_[last] = strides[i];
      } else {
        size_.push(shape[i]);
        stride_.push(strides[i]);
      }
    }
  }
  int64_t rows() const { return size_.elements(); }
  int64_t offset(int64_t row) const {
    int64_t at = 0;
    for (int i = size_.rank - 1; i > 0; --i) {
      at += row % size_[i] * stride_[i];
      row /= size_[i];
    }
    return size_.rank ? at + row * stride_[0] : 0;
  }

private:
  Shape size_, stride_;
};

// Runs body(begin, end) over rows on the pool when there is enough to do.
template <typename Body>
void for_rows(ThreadPool &pool, int64_t rows, int64_t elements, Body &&body) {
  constexpr int64_t kWorth = 1 << 14; // elements below which one thread is faster
  if (elements < kWorth || rows < 2 || pool.thread_count() == 1) {
    body(0, rows);
    return;
  }
  int64_t pieces = std::min<int64_t>(rows, pool.thread_count() * 2);
  int64_t grain = (rows + pieces - 1) / pieces;
  pool.parallel_for(static_cast<uint32_t>(rows), static_cast<uint32_t>(grain),
                    [&](uint32_t begin, uint32_t end, uint32_t) { body(begin, end); });
}

// Softmax in double precision; zeros where all of x is -inf. y may be x.
template <typename T> void softmax_f64(const T *x, T *y, int64_t n) {
  double top = -std::numeric_limits<double>::infinity(), total = 0;
  for (int64_t i = 0; i < n; ++i)
    top = std::max(top, static_cast<double>(x[i]));
  const bool masked = std::isinf(top) && top < 0;
  for (int64_t i = 0; i < n; ++i)
    total += masked ? 0 : std::exp(static_cast<double>(x[i]) - top);
  for (int64_t i = 0; i < n; ++i)
    y[i] = static_cast<T>(masked ? 0 : std::exp(static_cast<double>(x[i]) - top) / total);
}

} // namespace attn::ops
