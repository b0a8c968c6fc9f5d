// The inner loops that exist once per instruction set: a table of functions,
// chosen when the process starts by what the processor has.
#pragma once

#include "runtime/base/status.h"

#include <cstdint>

namespace attn::ops {

enum class Activation : int { none, relu, gelu_tanh, gelu_erf, silu, sigmoid, tanh };

// One tile of C = act(A B + bias) * gate + residual. B is a packed panel:
// k rows of `nr` columns; its tail columns are zero.
struct GemmTile {
  const float *a;
  int64_t lda;
  const float *b;
  int64_t k;
  float *c;
  int64_t ldc;
  int columns;       // of this panel, <= nr
  const float *bias; // nr values (padded), or null
  Activation activation;
  const float *gate;     // at this tile's first column, or null
  int64_t gate_ld;       // 0: one row for all
  int64_t rows_per_gate; // row r uses gate row (first_row + r) / rows_per_gate
  int64_t first_row;
  const float *residual; // laid out as C with its own ld, or null
  int64_t residual_ld;
};

// y = norm(x) * gamma + beta, then * scale + shift; null where absent.
struct NormRow {
  const float *x, *gamma, *beta, *scale, *shift;
  float *y;
  int64_t n;
  float epsilon;
  bool centered; // layer norm; otherwise RMS norm
};

enum class Unary : int {
  neg,
  abs,
  sqrt,
  reciprocal,
  exp,
  log,
  sin,
  cos,
  tanh,
  sigmoid,
  relu,
  gelu_tanh,
  gelu_erf,
  silu,
  erf,
  floor,
  ceil,
  round,
  softplus,
  copy,
  count
};
enum class Binary : int { add, sub, mul, div, min, max, pow, count };

struct Isa {
  const char *name;
  int mr, nr; // largest tile of gemm
  void (*gemm)(const GemmTile &tile, int rows);
  // What follows the sums of `rows` rows by nr columns: bias (if `add_bias`),
  // activation, gate, residual, store.
  void (*finish)(float *sums, int rows, const GemmTile &tile, bool add_bias);
  void (*unary[static_cast<int>(Unary::count)])(const float *x, float *y, int64_t n);
  void (*binary[static_cast<int>(Binary::count)])(const float *a, const float *b, float *y,
                                                  int64_t n);
  void (*norm)(const NormRow &row);
  // y = softmax(x), stable; a row of -inf gives zeros, one with a NaN gives NaN.
  void (*softmax)(const float *x, float *y, int64_t n);
  // Rotates pairs of one head: x has 2 * pairs elements.
  void (*rope)(const float *x, const float *cosine, const float *sine, float *y, int64_t pairs,
               bool interleaved);
  // y = x / scale rounded to nearest even, scale = max |x| / 127 (0: all zero). With a NaN
  // or infinity in x the scale is one, too.
  void (*quantise)(const float *x, int8_t *y, float *scale, int64_t n);
  float (*dot)(const float *a, const float *b, int64_t n);
  void (*axpy)(float a, const float *x, float *y, int64_t n); // y += a x
};

// The best table for this machine; ATTN_CPU_ISA=portable|avx2|avx512 lowers it.
const Isa &isa();
// An error if ATTN_CPU_ISA names no table that this machine can run.
Status check_isa();

// The tables by themselves, for tests; null where the machine cannot run it.
const Isa *isa_named(const char *name);

} // namespace attn::ops
