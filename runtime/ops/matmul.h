// Matrix products: a weight packed once into panels, and the loop that runs a
// product with its epilogue over all threads.
#pragma once

#include "runtime/base/aligned_memory.h"
#include "runtime/base/status.h"
#include "runtime/base/thread_pool.h"
#include "runtime/graph/types.h"
#include "runtime/ops/bf16_unit.h"
#include "runtime/ops/isa.h"
#include <cstdint>

namespace attn::ops {

// A weight where it lies, element (i, j) at i * row + j * column: f32, bf16, f16, or int8
// with a scale for each column (scale_step 1) or for all (0).
struct WeightSource {
  const void *data = nullptr;
  graph::DType type = graph::DType::f32;
  int64_t row = 0, column = 0;
  const float *scales = nullptr;
  int64_t scale_step = 0;
};

// B (k x n) as ceil(n / nr) panels of k rows by nr columns, tail columns zero,
// and the bias padded alike.
struct PackedWeight {
  int64_t k = 0, n = 0, panels = 0;
  AlignedMemory data, bias;
  const float *mapped = nullptr;  // panels that lie elsewhere, instead of `data`
  const Bf16Unit *unit = nullptr; // with it, instead of `data`:
  AlignedMemory bf16;             //   its panels,
  mutable AlignedMemory rows;     //   and room for A as bf16
  WeightSource source;            // with it, instead of `data`: packed anew in every run
  const float *panel(int64_t p, int nr) const {
    return (mapped ? mapped : static_cast<const float *>(data.data())) + p * k * nr;
  }
};

// Packs columns [first, last) of panels of B, times `alpha`.
void pack_panels(const WeightSource &b, int64_t k, int64_t n, float alpha, int nr,
                 int64_t first_panel, int64_t last_panel, float *to);

// Sets the sizes of a weight of k x n and pads its bias, n elements with the given step
// (0: one for all) times `beta`, or null. False when memory is exhausted.
bool size_weight(int64_t k, int64_t n, const float *bias, int64_t bias_step, float beta,
                 PackedWeight &out);

// The same, and packs B.
bool pack_weight(const WeightSource &b, int64_t k, int64_t n, float alpha, const float *bias,
                 int64_t bias_step, float beta, PackedWeight &out);

// Exchanges the packed f32 panels for bf16 ones of `unit`, for products of at most
// `rows` rows. False when memory is exhausted.
bool convert_weight(const Bf16Unit &unit, int64_t rows, PackedWeight &weight);

// One product of a job: C = epilogue(A B), rows x weight.n.
struct Product {
  const PackedWeight *weight;
  float *c;
  Activation activation = Activation::none;
  const float *gate = nullptr;
  int64_t gate_ld = 0, rows_per_gate = 1;
  const float *residual = nullptr;
};

// Runs products that share A (rows x k, dense) as one loop over their panels. Fails where there
// is no memory for the panels of a weight that is not packed.
Status run_products(ThreadPool &pool, const float *a, int64_t rows, const Product *products,
                    int count);

} // namespace attn::ops
