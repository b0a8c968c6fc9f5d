// Interval arithmetic on compile-time ranges: corners of monotone operations.
#include "dialects/attn/Range.h"

#include <initializer_list>

using namespace mlir::attn;

static bool outside(int64_t min, int64_t max) {
  IntRange i32;
  return min < i32.min || max > i32.max;
}

static IntRange corners(std::initializer_list<int64_t> values) {
  return IntRange::orAll(std::min(values), std::max(values));
}

int64_t mlir::attn::floorDiv(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

bool mlir::attn::mayWrapAdd(IntRange a, IntRange b) {
  return outside(a.min + b.min, a.max + b.max);
}
bool mlir::attn::mayWrapSub(IntRange a, IntRange b) {
  return outside(a.min - b.max, a.max - b.min);
}
bool mlir::attn::mayWrapMul(IntRange a, IntRange b) {
  auto products = {a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max};
  return outside(std::min(products), std::max(products));
}

IntRange mlir::attn::addRange(IntRange a, IntRange b) {
  return IntRange::orAll(a.min + b.min, a.max + b.max);
}
IntRange mlir::attn::subRange(IntRange a, IntRange b) {
  return IntRange::orAll(a.min - b.max, a.max - b.min);
}
IntRange mlir::attn::mulRange(IntRange a, IntRange b) {
  return corners({a.min * b.min, a.min * b.max, a.max * b.min, a.max * b.max});
}

IntRange mlir::attn::floorDivRange(IntRange a, IntRange b) {
  // For a fixed divisor the quotient is monotone in a; for a fixed a it is
  // monotone in the divisor on either side of 0. So corners decide.
  bool first = true;
  IntRange result;
  auto take = [&](int64_t quotient) {
    result = first ? IntRange::constant(quotient) : result.unite(IntRange::constant(quotient));
    first = false;
  };
  if (b.contains(0))
    take(0);
  for (int64_t divisor : {b.min, b.max, int64_t(1), int64_t(-1)})
    if (divisor != 0 && b.contains(divisor)) {
      take(floorDiv(a.min, divisor));
      take(floorDiv(a.max, divisor));
    }
  return IntRange::orAll(result.min, result.max);
}

IntRange mlir::attn::floorModRange(IntRange a, IntRange b) {
  if (b.positive()) {
    if (a.nonNegative() && a.max < b.min)
      return a;
    if (b.isConstant() && floorDiv(a.min, b.min) == floorDiv(a.max, b.min)) {
      int64_t quotient = floorDiv(a.min, b.min);
      return {a.min - quotient * b.min, a.max - quotient * b.min};
    }
    return {0, a.nonNegative() ? std::min(a.max, b.max - 1) : b.max - 1};
  }
  return {std::min<int64_t>(b.min + 1, 0), std::max<int64_t>(b.max - 1, 0)};
}

IntRange mlir::attn::absRange(IntRange a) {
  int64_t least = a.contains(0) ? 0 : std::min(std::abs(a.min), std::abs(a.max));
  return IntRange::orAll(least, std::max(std::abs(a.min), std::abs(a.max)));
}

IntRange mlir::attn::minRange(IntRange a, IntRange b) {
  return {std::min(a.min, b.min), std::min(a.max, b.max)};
}
IntRange mlir::attn::maxRange(IntRange a, IntRange b) {
  return {std::max(a.min, b.min), std::max(a.max, b.max)};
}

IntRange mlir::attn::andRange(IntRange a, IntRange b) {
  if (a.nonNegative() && b.nonNegative())
    return {0, std::min(a.max, b.max)};
  if (a.nonNegative())
    return {0, a.max};
  if (b.nonNegative())
    return {0, b.max};
  return IntRange::all();
}

// The least 2^n - 1 that is not below a non-negative value.
static int64_t smear(int64_t value) {
  int64_t mask = 0;
  while (mask < value)
    mask = 2 * mask + 1;
  return mask;
}

IntRange mlir::attn::orRange(IntRange a, IntRange b) {
  if (a.nonNegative() && b.nonNegative())
    return {0, std::min(a.max + b.max, smear(std::max(a.max, b.max)))};
  return IntRange::all();
}

IntRange mlir::attn::shiftLeftRange(IntRange a, IntRange amount) {
  if (amount.min < 0 || amount.max > 31)
    return IntRange::all();
  return mulRange(a, {int64_t(1) << amount.min, int64_t(1) << amount.max});
}
IntRange mlir::attn::shiftRightRange(IntRange a, IntRange amount) {
  if (amount.min < 0 || amount.max > 31)
    return a.unite(IntRange::constant(0)).unite(IntRange::constant(-1));
  return corners(
      {a.min >> amount.min, a.min >> amount.max, a.max >> amount.min, a.max >> amount.max});
}
