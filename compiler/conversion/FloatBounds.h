// Bounds of f32 values in masks: ops that are monotone map ends to ends, and
// rounding keeps the order, so the ends bound what a kernel computes.
#pragma once

#include "dialects/attn/IntervalBuilder.h"

#include <optional>

namespace mlir::attn {

/// All finite values from `low` to `high`, f32, none beyond `bound` in magnitude.
struct FloatInterval {
  Value low, high;
  double bound = 0;
  bool isPoint() const { return low == high; }
};

/// Magnitudes beyond this are not followed: sums and products stay finite.
constexpr double kMaxFloatBound = 1e30;

class FloatBounds {
public:
  explicit FloatBounds(IntervalBuilder &intervals) : intervals(intervals) {}

  FloatInterval fromInteger(Interval a);
  FloatInterval add(FloatInterval a, FloatInterval b);
  FloatInterval sub(FloatInterval a, FloatInterval b);
  FloatInterval min(FloatInterval a, FloatInterval b);
  FloatInterval max(FloatInterval a, FloatInterval b);
  FloatInterval abs(FloatInterval a);
  FloatInterval select(Truth condition, FloatInterval a, FloatInterval b);
  /// `a` times, or divided by, a constant that is not 0.
  FloatInterval scale(FloatInterval a, Value constant, double value, bool divide);
  Interval toInteger(FloatInterval a);
  /// Ordered comparisons and une; absent for others.
  std::optional<Truth> compare(arith::CmpFPredicate predicate, FloatInterval a, FloatInterval b);

private:
  template <typename OpTy> Value emit(Value a, Value b);
  Value isTrue(arith::CmpFPredicate predicate, Value a, Value b);
  Value negate(Value a);

  IntervalBuilder &intervals;
};

} // namespace mlir::attn
