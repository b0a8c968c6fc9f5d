// Shorthand for the arithmetic that the lowering emits most.
#pragma once

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// Emits at one builder and location; operands are f32 or i32 scalars, or
/// vectors of f32.
struct Emit {
  OpBuilder &b;
  Location loc;

  Value i32(int64_t value) { return arith::ConstantIntOp::create(b, loc, value, 32); }
  Value f32(double value) {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(value)));
  }
  /// A constant of `type`, a scalar or vector of f32.
  Value constant(Type type, double value) {
    auto attr = b.getF32FloatAttr(float(value));
    if (auto vector = dyn_cast<VectorType>(type))
      return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(vector, attr.getValue()));
    return arith::ConstantOp::create(b, loc, attr);
  }
  Value splat(Value scalar, Type type) {
    return isa<VectorType>(type) ? vector::BroadcastOp::create(b, loc, type, scalar).getResult()
                                 : scalar;
  }
  Value addI(Value x, Value y) { return arith::AddIOp::create(b, loc, x, y); }
  Value subI(Value x, Value y) { return arith::SubIOp::create(b, loc, x, y); }
  Value mulI(Value x, Value y) { return arith::MulIOp::create(b, loc, x, y); }
  Value minI(Value x, Value y) { return arith::MinSIOp::create(b, loc, x, y); }
  /// The sum of the products of four pairs of int8 numbers packed in words.
  Value dot4(Value x, Value y) {
    auto format = spirv::PackedVectorFormatAttr::get(
        b.getContext(), spirv::PackedVectorFormat::PackedVectorFormat4x8Bit);
    return spirv::SDotOp::create(b, loc, b.getI32Type(), x, y, format);
  }
  Value less(Value x, Value y) {
    return arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, x, y);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value z) { return math::FmaOp::create(b, loc, x, y, z); }
  Value exp2(Value x) { return math::Exp2Op::create(b, loc, x); }
  Value log(Value x) { return math::LogOp::create(b, loc, x); }
  /// One instruction. Of a number and a NaN it may be either.
  Value max(Value x, Value y) {
    return arith::MaxNumFOp::create(b, loc, x, y, arith::FastMathFlags::nnan);
  }
  /// The larger of |x| and y >= 0, as bits, whose order puts NaN above all numbers.
  Value maxMagnitude(Value x, Value y) {
    return asFloat(arith::MaxSIOp::create(b, loc, bits(math::AbsFOp::create(b, loc, x)), bits(y)));
  }
  /// False of a NaN.
  Value atMost(Value x, Value y) {
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLE, x, y);
  }
  /// SPIR-V 1.3 chooses between vectors element by element.
  Value select(Value condition, Value x, Value y) {
    if (auto type = dyn_cast<VectorType>(x.getType()))
      condition = splat(condition, type.clone(b.getI1Type()));
    return arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value bits(Value x) { return arith::BitcastOp::create(b, loc, b.getI32Type(), x); }
  Value asFloat(Value x) {
    return x.getType().isF32() ? x
                               : arith::BitcastOp::create(b, loc, b.getF32Type(), x).getResult();
  }
};

/// The numbers of a piece.
inline SmallVector<Value> elementsOf(OpBuilder &b, Location loc, Value piece) {
  auto type = dyn_cast<VectorType>(piece.getType());
  if (!type)
    return {piece};
  SmallVector<Value> elements;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    elements.push_back(vector::ExtractOp::create(b, loc, piece, i));
  return elements;
}

} // namespace mlir::attn
