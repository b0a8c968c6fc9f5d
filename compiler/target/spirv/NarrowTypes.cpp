// Narrow bits enter, f32 leaves, and the reverse.
#include "compiler/target/spirv/NarrowTypes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

static Value i32(OpBuilder &b, Location loc, int64_t value) {
  return arith::ConstantIntOp::create(b, loc, value, 32);
}

// The i8 in the top bits of `word` as f32.
static Value topByteToFloat(OpBuilder &b, Location loc, Value word) {
  Value value = arith::ShRSIOp::create(b, loc, word, i32(b, loc, 24));
  return arith::SIToFPOp::create(b, loc, b.getF32Type(), value);
}

// The f16 in the low bits of `word` as f32. The instruction is core Vulkan 1.0
// and unpacks both halves.
static Value lowHalfToFloat(OpBuilder &b, Location loc, Value word, int64_t half) {
  Value pair = spirv::GLUnpackHalf2x16Op::create(b, loc, VectorType::get(2, b.getF32Type()), word);
  return spirv::CompositeExtractOp::create(b, loc, pair, ArrayRef<int32_t>{int32_t(half)});
}

Value mlir::attn::unpackToFloat(OpBuilder &b, Location loc, Value word, int64_t lane, Type type) {
  if (type.isF16())
    return lowHalfToFloat(b, loc, word, lane);
  if (type.isBF16()) {
    Value bits = lane == 0
                     ? Value(arith::ShLIOp::create(b, loc, word, i32(b, loc, 16)))
                     : Value(arith::AndIOp::create(b, loc, word, i32(b, loc, int32_t(0xffff0000))));
    return arith::BitcastOp::create(b, loc, b.getF32Type(), bits);
  }
  assert(type.isInteger(8) && "no other narrow element");
  Value top =
      lane == 3 ? word : Value(arith::ShLIOp::create(b, loc, word, i32(b, loc, 24 - 8 * lane)));
  return topByteToFloat(b, loc, top);
}

Value mlir::attn::halfBitsToFloat(OpBuilder &b, Location loc, Value bits, Type type) {
  auto vector = dyn_cast<VectorType>(bits.getType());
  auto shaped = [&](Type element) -> Type { return vector ? vector.clone(element) : element; };
  if (type.isF16()) {
    Value halves = arith::BitcastOp::create(b, loc, shaped(type), bits);
    return arith::ExtFOp::create(b, loc, shaped(b.getF32Type()), halves);
  }
  Value wide = arith::ExtUIOp::create(b, loc, shaped(b.getI32Type()), bits);
  Value shift = i32(b, loc, 16);
  if (vector)
    shift = vector::BroadcastOp::create(b, loc, wide.getType(), shift);
  Value top = arith::ShLIOp::create(b, loc, wide, shift);
  return arith::BitcastOp::create(b, loc, shaped(b.getF32Type()), top);
}

Value mlir::attn::unpackToFloatAt(OpBuilder &b, Location loc, Value word, Value shift, Type type) {
  Value low = arith::ShRUIOp::create(b, loc, word, shift);
  return unpackToFloat(b, loc, low, 0, type);
}

static Value roundToBFloat(OpBuilder &b, Location loc, Value bits) {
  // Adding 0x7fff plus the lowest kept bit carries exactly when nearest even rounds up.
  Value kept = arith::ShRUIOp::create(b, loc, bits, i32(b, loc, 16));
  Value odd = arith::AndIOp::create(b, loc, kept, i32(b, loc, 1));
  Value bias = arith::AddIOp::create(b, loc, odd, i32(b, loc, 0x7fff));
  Value rounded =
      arith::ShRUIOp::create(b, loc, arith::AddIOp::create(b, loc, bits, bias), i32(b, loc, 16));
  // A NaN could carry into infinity; keep it quiet instead.
  Value magnitude = arith::AndIOp::create(b, loc, bits, i32(b, loc, 0x7fffffff));
  Value isNan =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, magnitude, i32(b, loc, 0x7f800000));
  Value quiet = arith::OrIOp::create(b, loc, kept, i32(b, loc, 0x40));
  return arith::SelectOp::create(b, loc, isNan, quiet, rounded);
}

static Value roundToHalf(OpBuilder &b, Location loc, Value bits) {
  // PackHalf2x16 leaves rounding to the device, so the bits are rounded here.
  auto shr = [&](Value x, Value n) { return arith::ShRUIOp::create(b, loc, x, n).getResult(); };
  auto add = [&](Value x, Value y) { return arith::AddIOp::create(b, loc, x, y).getResult(); };
  auto sub = [&](Value x, Value y) { return arith::SubIOp::create(b, loc, x, y).getResult(); };
  auto both = [&](Value x, Value y) { return arith::AndIOp::create(b, loc, x, y).getResult(); };
  auto select = [&](arith::CmpIPredicate p, Value x, Value y, Value t, Value f) {
    return arith::SelectOp::create(b, loc, arith::CmpIOp::create(b, loc, p, x, y), t, f)
        .getResult();
  };
  using P = arith::CmpIPredicate;
  Value sign = both(shr(bits, i32(b, loc, 16)), i32(b, loc, 0x8000));
  Value magnitude = both(bits, i32(b, loc, 0x7fffffff));
  Value exponent = shr(magnitude, i32(b, loc, 23));
  // Below 2^-14 (exponent 113) the result is subnormal: the mantissa with its
  // hidden bit moves 13 + (113 - exponent) places; 25 empties it.
  Value hidden =
      arith::OrIOp::create(b, loc, both(magnitude, i32(b, loc, 0x7fffff)), i32(b, loc, 0x800000));
  Value wanted = sub(i32(b, loc, 126), exponent);
  Value deep = arith::MinSIOp::create(
      b, loc, arith::MaxSIOp::create(b, loc, wanted, i32(b, loc, 13)), i32(b, loc, 25));
  auto roundShift = [&](Value x, Value n) {
    Value one = i32(b, loc, 1);
    Value half = sub(arith::ShLIOp::create(b, loc, one, sub(n, one)), one);
    Value odd = both(shr(x, n), one);
    return shr(add(x, add(half, odd)), n);
  };
  Value subnormal = roundShift(hidden, deep);
  Value normal = roundShift(sub(magnitude, i32(b, loc, 112 << 23)), i32(b, loc, 13));
  Value finite = select(P::slt, exponent, i32(b, loc, 113), subnormal, normal);
  // 65520 and above round to infinity; NaN stays NaN.
  Value large =
      select(P::sgt, magnitude, i32(b, loc, 0x7f800000), i32(b, loc, 0x7e00), i32(b, loc, 0x7c00));
  Value result = select(P::sge, magnitude, i32(b, loc, 0x477ff000), large, finite);
  return arith::OrIOp::create(b, loc, sign, result);
}

Value mlir::attn::roundToHalfBits(OpBuilder &b, Location loc, Value value, Type type) {
  Value bits = value;
  if (value.getType().isF32())
    bits = arith::BitcastOp::create(b, loc, b.getI32Type(), value);
  return type.isBF16() ? roundToBFloat(b, loc, bits) : roundToHalf(b, loc, bits);
}
