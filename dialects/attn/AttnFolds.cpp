// Folds of the attn scalar ops: integers that are known now are computed now.
#include "dialects/attn/AttnDialect.h"

using namespace mlir;
using namespace mlir::attn;

static std::optional<int64_t> constantOf(Attribute attribute) {
  if (auto integer = dyn_cast_or_null<IntegerAttr>(attribute))
    return integer.getInt();
  return std::nullopt;
}

static IntegerAttr i32(MLIRContext *context, int64_t value) {
  return IntegerAttr::get(IntegerType::get(context, 32), static_cast<int32_t>(value));
}

// Folded results are constants of arith, like all numbers in scalar regions.
Operation *AttnDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type,
                                            Location loc) {
  return arith::ConstantOp::materialize(builder, value, type, loc);
}

// x div 1 -> x; constants are divided; x div 0 -> 0.
OpFoldResult FloorDivOp::fold(FoldAdaptor adaptor) {
  auto lhs = constantOf(adaptor.getLhs()), rhs = constantOf(adaptor.getRhs());
  if (rhs == 1)
    return getLhs();
  if (rhs == 0)
    return i32(getContext(), 0);
  if (lhs && rhs)
    return i32(getContext(), floorDiv(*lhs, *rhs));
  return {};
}

// x mod 1 -> 0; constants are computed; x mod 0 -> 0.
OpFoldResult FloorModOp::fold(FoldAdaptor adaptor) {
  auto lhs = constantOf(adaptor.getLhs()), rhs = constantOf(adaptor.getRhs());
  if (rhs == 0 || rhs == 1)
    return i32(getContext(), 0);
  if (lhs && rhs)
    return i32(getContext(), *lhs - *rhs * floorDiv(*lhs, *rhs));
  return {};
}
