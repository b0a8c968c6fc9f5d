// Evaluates a checked expression for one (batch, head, query, key) by walking
// its tree: integers wrap at 32 bits, numbers are f64. Knows nothing of the
// compiler, whose kernels are compared with it.
#pragma once

#include "compiler/spec/CheckedSpec.h"

#include <cstdint>
#include <vector>

namespace attn::oracle {

// The contents of one table, row-major. Integer tables hold whole numbers.
struct TableData {
  std::vector<int64_t> extents;
  std::vector<double> values;
};

// A per-row tensor that the output expression reads: (batch, q, head, dim) in
// this order, an extent of 1 where the declaration leaves the dimension out.
struct InputData {
  int64_t batch = 1, rows = 1, heads = 1, dims = 1;
  std::vector<double> values;
};

// What an expression sees beside its coordinates; tables, params and inputs in
// the order of the spec's lists.
struct Bindings {
  std::vector<double> params;
  std::vector<TableData> tables;
  std::vector<InputData> inputs;
  int32_t heads = 1, kvHeads = 1, layer = 0;
};

struct Point {
  int32_t batch = 0, head = 0;
  int32_t queryPosition = 0, keyPosition = 0;
  double score = 0;         // `s`
  double output = 0;        // `o`
  double logSumExp = 0;     // `lse`, finite
  int64_t row = 0, dim = 0; // for inputs
};

class Evaluator {
public:
  // `bindings` must outlive the evaluator.
  explicit Evaluator(const Bindings &bindings) : bindings(bindings) {}

  // Bool as 0 or 1, Int as a whole number in int32 range, Float as is.
  double value(const spec::Expr &expr, const Point &point) const;
  bool truth(const spec::Expr &expr, const Point &point) const { return value(expr, point) != 0; }

private:
  int32_t integer(const spec::Expr &expr, const Point &point) const;
  double number(const spec::Expr &expr, const Point &point) const;
  bool boolean(const spec::Expr &expr, const Point &point) const;
  double gather(const spec::Expr &expr, const Point &point) const;
  double input(const spec::Expr &expr, const Point &point) const;
  int32_t extent(const spec::Extent &extent, const Point &point) const;

  const Bindings &bindings;
};

// 32-bit integer arithmetic of the language: `//` and `%` round towards -inf,
// a divisor of 0 gives 0.
int32_t floorDiv(int32_t a, int32_t b);
int32_t floorMod(int32_t a, int32_t b);

} // namespace attn::oracle
