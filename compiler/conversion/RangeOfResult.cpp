// Compile-time ranges of scalar ops: operand ranges enter, the result's leaves.
#include "compiler/conversion/Classify.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

static IntRange rangeOfParam(ParamOp op, AttentionOp attention) {
  ParamAttr param = attention ? attention.findParam(op.getParam()).first : ParamAttr();
  if (!param || !param.getType().isInteger(32))
    return IntRange::all();
  return {cast<IntegerAttr>(param.getMinimum()).getInt(),
          cast<IntegerAttr>(param.getMaximum()).getInt()};
}

static IntRange rangeOfTable(TableLoadOp op, AttentionOp attention) {
  TableAttr table = attention ? attention.findTable(op.getTable()).first : TableAttr();
  // 8-bit tables are unsigned.
  if (table && table.getElementType().isInteger(8))
    return {0, 255};
  return IntRange::all();
}

static IntRange rangeOfLaunchValue(LaunchValueOp op, AttentionOp attention) {
  int64_t heads = attention ? attention.getHeads() : 0;
  int64_t kvHeads = attention ? attention.getKvHeads() : 0;
  switch (op.getWhich()) {
  case LaunchValue::layer:
    return {0, IntRange().max};
  case LaunchValue::heads:
    return heads ? IntRange::constant(heads) : IntRange{1, IntRange().max};
  case LaunchValue::kv_heads:
    return kvHeads ? IntRange::constant(kvHeads) : IntRange{1, IntRange().max};
  }
  return IntRange::all();
}

static IntRange rangeOfCompare(arith::CmpIOp op, IntRange a, IntRange b) {
  auto known = [](bool yes, bool no) { return IntRange{yes, !no}; };
  switch (op.getPredicate()) {
  case arith::CmpIPredicate::slt:
    return known(a.max < b.min, a.min >= b.max);
  case arith::CmpIPredicate::sle:
    return known(a.max <= b.min, a.min > b.max);
  case arith::CmpIPredicate::sgt:
    return known(a.min > b.max, a.max <= b.min);
  case arith::CmpIPredicate::sge:
    return known(a.min >= b.max, a.max < b.min);
  default:
    return {0, 1};
  }
}

IntRange mlir::attn::rangeOfResult(Operation *op, ArrayRef<IntRange> operands,
                                   AttentionOp attention) {
  Type type = op->getResult(0).getType();
  IntRange whole = type.isInteger(1) ? IntRange{0, 1} : IntRange::all();
  auto binary = [&](IntRange (*rule)(IntRange, IntRange)) {
    return type.isInteger(32) ? rule(operands[0], operands[1]) : whole;
  };
  return TypeSwitch<Operation *, IntRange>(op)
      .Case([&](arith::ConstantOp op) {
        auto integer = dyn_cast<IntegerAttr>(op.getValue());
        if (!integer)
          return whole;
        return IntRange::constant(type.isInteger(1) ? integer.getValue().getZExtValue()
                                                    : integer.getInt());
      })
      .Case([&](arith::AddIOp) { return binary(addRange); })
      .Case([&](arith::SubIOp) { return binary(subRange); })
      .Case([&](arith::MulIOp) { return binary(mulRange); })
      .Case([&](arith::MinSIOp) { return binary(minRange); })
      .Case([&](arith::MaxSIOp) { return binary(maxRange); })
      .Case([&](arith::AndIOp) { return binary(andRange); })
      .Case<arith::OrIOp, arith::XOrIOp>([&](auto) { return binary(orRange); })
      .Case([&](arith::ShLIOp) { return binary(shiftLeftRange); })
      .Case([&](arith::ShRSIOp) { return binary(shiftRightRange); })
      .Case([&](FloorDivOp) { return binary(floorDivRange); })
      .Case([&](FloorModOp) { return binary(floorModRange); })
      .Case([&](math::AbsIOp) { return absRange(operands[0]); })
      .Case([&](arith::SelectOp) {
        return type.isIntOrIndex() ? operands[1].unite(operands[2]) : whole;
      })
      .Case([&](arith::CmpIOp op) { return rangeOfCompare(op, operands[0], operands[1]); })
      .Case([&](arith::ExtUIOp) { return operands[0]; })
      .Case([&](PositionOp) {
        return IntRange{0, kMaxPosition};
      })
      .Case([&](ParamOp op) { return rangeOfParam(op, attention); })
      .Case([&](TableLoadOp op) { return rangeOfTable(op, attention); })
      .Case([&](LaunchValueOp op) { return rangeOfLaunchValue(op, attention); })
      .Default([&](Operation *) { return whole; });
}
