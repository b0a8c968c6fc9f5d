// Two outputs and a bound enter; errors and the first violation leave.
#include "tools/attn-run/compare.h"

#include <cmath>

namespace attn {

static std::string row_name(const HostTensor &o, size_t row) {
  int64_t rows = o.shape[2], heads = o.shape[1];
  int64_t r = static_cast<int64_t>(row);
  return concat("batch ", r / rows / heads, ", head ", r / rows % heads, ", row ", r % rows);
}

Comparison compare(const HostResult &got, const oracle::Result &want, double bound) {
  Comparison result;
  size_t dim = static_cast<size_t>(got.o.shape[3]), rows = got.o.values.size() / dim;
  std::vector<double> errors(rows), norms(rows);
  double error = 0, norm = 0;
  auto fail = [&](const std::string &text) {
    if (result.failure.empty())
      result.failure = text;
  };
  if (got.strayed)
    fail("the kernel wrote between the rows of its output");
  for (size_t row = 0; row < rows; ++row) {
    bool empty = true, nothing = true;
    for (size_t d = 0; d < dim; ++d) {
      double w = want.o[row * dim + d], g = got.o.values[row * dim + d];
      if (!std::isfinite(g)) {
        fail(concat("output is ", g, " at ", row_name(got.o, row), ", dim ", d,
                    " (NaN: not written, or read from where it must not)"));
        result.error = result.worst_row = INFINITY;
        return result;
      }
      errors[row] += (g - w) * (g - w);
      norms[row] += w * w;
      empty &= g == 0;
      nothing &= w == 0;
    }
    error += errors[row];
    norm += norms[row];
    bool masked = std::isinf(want.lse[row]) && want.lse[row] < 0;
    // An output expression may add to what such a row attends; without one it is 0.
    if (masked && nothing && !empty)
      fail(concat("row attends nothing but its output is not 0: ", row_name(got.o, row)));
    if (got.lse.empty())
      continue;
    double l = got.lse[row];
    if (masked ? l != want.lse[row]
               : !(std::abs(l - want.lse[row]) <= 4 * bound * (1 + std::abs(want.lse[row]))))
      fail(concat("lse is ", l, ", the oracle has ", want.lse[row], ": ", row_name(got.o, row)));
  }
  double mean_norm = rows ? std::sqrt(norm / static_cast<double>(rows)) : 0;
  for (size_t row = 0; row < rows; ++row) {
    double allowed = 4 * bound * std::sqrt(norms[row]) + bound * mean_norm;
    double ratio = allowed > 0 ? std::sqrt(errors[row]) / allowed : errors[row] > 0 ? INFINITY : 0;
    result.worst_row = std::max(result.worst_row, ratio);
    if (ratio > 1)
      fail(concat("row error ", std::sqrt(errors[row]), " exceeds ", allowed, ": ",
                  row_name(got.o, row)));
  }
  result.error = norm > 0 ? std::sqrt(error / norm) : error > 0 ? INFINITY : 0;
  if (!(result.error <= bound))
    fail(concat("relative error ", result.error, " exceeds ", bound));
  return result;
}

} // namespace attn
