// Intervals of i32 values known at compile time: ranges of operands enter,
// the range of the result leaves. Results that could wrap are the whole of i32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace mlir::attn {

/// Positions of queries and keys lie in [0, kMaxPosition], so that sums and
/// differences of two of them never wrap. Launchers refuse others.
constexpr int64_t kMaxPosition = (int64_t(1) << 30) - 1;

struct IntRange {
  int64_t min = std::numeric_limits<int32_t>::min();
  int64_t max = std::numeric_limits<int32_t>::max();

  static IntRange all() { return {}; }
  static IntRange constant(int64_t value) { return {value, value}; }
  /// The same range, or all of i32 where values could have wrapped.
  static IntRange orAll(int64_t min, int64_t max) {
    IntRange i32;
    return min < i32.min || max > i32.max ? i32 : IntRange{min, max};
  }

  bool isConstant() const { return min == max; }
  bool isAll() const { return min == all().min && max == all().max; }
  bool nonNegative() const { return min >= 0; }
  bool positive() const { return min > 0; }
  bool contains(int64_t value) const { return min <= value && value <= max; }
  bool operator==(const IntRange &) const = default;

  IntRange unite(IntRange b) const { return {std::min(min, b.min), std::max(max, b.max)}; }
};

/// Whether adding, subtracting or multiplying can leave i32.
bool mayWrapAdd(IntRange a, IntRange b);
bool mayWrapSub(IntRange a, IntRange b);
bool mayWrapMul(IntRange a, IntRange b);

IntRange addRange(IntRange a, IntRange b);
IntRange subRange(IntRange a, IntRange b);
IntRange mulRange(IntRange a, IntRange b);
/// attn.floor_div and attn.floor_mod: a divisor of 0 gives 0.
IntRange floorDivRange(IntRange a, IntRange b);
IntRange floorModRange(IntRange a, IntRange b);
IntRange absRange(IntRange a);
IntRange minRange(IntRange a, IntRange b);
IntRange maxRange(IntRange a, IntRange b);
IntRange andRange(IntRange a, IntRange b);
/// Of `or` and of `xor`.
IntRange orRange(IntRange a, IntRange b);
IntRange shiftLeftRange(IntRange a, IntRange amount);
IntRange shiftRightRange(IntRange a, IntRange amount);

/// The floor of a / b, b not 0.
int64_t floorDiv(int64_t a, int64_t b);

} // namespace mlir::attn
