// Division by a number that stays the same: multiplication by its inverse.
#pragma once

#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {

/// Replaces, within loops, arith.divui and arith.remui of i32 by divisors that
/// do not change in the loop: extents that a call gives, for the most part. All
/// numbers that kernels divide without a sign are below 2^31.
///
///     inverse = ceil(2^(31 + l) / d), l = ceil(log2 d)     once, below 2^32
///     x / d   = (x * inverse) >> (31 + l)                  for 0 <= x < 2^31
///
/// Processors divide one number at a time, which takes as long as ten products;
/// vectors of 32-bit numbers they multiply at once.
void invertDivisors(ModuleOp module);

/// `attn-invert-divisors` for attn-opt.
void registerInvertDivisorsPass();

} // namespace mlir::attn
