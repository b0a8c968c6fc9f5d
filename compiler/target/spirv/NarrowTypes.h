// Conversions between f32 and the narrow elements packed in 32-bit words, in
// integer arithmetic alone: only halfBitsToFloat needs a device feature.
#pragma once

#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// Element `lane` (constant) of a word of packed `type` (f16, bf16, i8) as f32.
Value unpackToFloat(OpBuilder &b, Location loc, Value word, int64_t lane, Type type);

/// Halves held as i16, a scalar or vector, as f32; needs 16-bit arithmetic.
Value halfBitsToFloat(OpBuilder &b, Location loc, Value bits, Type type);

/// The element at a computed bit shift as f32.
Value unpackToFloatAt(OpBuilder &b, Location loc, Value word, Value shift, Type type);

/// The bits of an f32 number rounded to nearest even to f16 or bf16, in the low
/// half of an i32.
Value roundToHalfBits(OpBuilder &b, Location loc, Value value, Type type);

} // namespace mlir::attn
