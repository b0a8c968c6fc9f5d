// Scalar attn ops enter, arith, math and tile scalars leave. Every op here is
// total: a lane whose result is not used may hold anything without undefined
// behaviour.
#include "compiler/conversion/LowerScalars.h"

#include "compiler/conversion/Classify.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;
using Predicate = arith::CmpIPredicate;

namespace {

class ScalarLowering {
public:
  ScalarLowering(OpBuilder &builder, const KernelTables &tables)
      : builder(builder), tables(tables) {}

  void setArgument(Value original, LoweredValue lowered) { set(original, lowered); }
  LogicalResult lower(Operation &op);
  Value lookup(Value value) { return map.lookup(value).value; }

private:
  LoweredValue get(Value value) { return map.lookup(value); }
  void set(Value original, LoweredValue lowered) { map[original] = lowered; }
  LoweredValue constant(int64_t value) {
    return {arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(value)),
            IntRange::constant(value)};
  }
  Value compare(Predicate predicate, Value a, Value b) {
    return builder.createOrFold<arith::CmpIOp>(loc, predicate, a, b);
  }
  Value select(Value condition, Value a, Value b) {
    return builder.createOrFold<arith::SelectOp>(loc, condition, a, b);
  }
  template <typename OpTy> Value emit(Value a, Value b) {
    return builder.createOrFold<OpTy>(loc, a, b);
  }

  LoweredValue subtract(LoweredValue a, LoweredValue b) {
    return {emit<arith::SubIOp>(a.value, b.value), subRange(a.range, b.range)};
  }
  LoweredValue floorDiv(LoweredValue a, LoweredValue b);
  LoweredValue floorMod(LoweredValue a, LoweredValue b);
  LoweredValue decode(CoordOp op);
  LoweredValue toInt(ToIntOp op);
  LogicalResult readTable(TableLoadOp op);

  OpBuilder &builder;
  KernelTables tables;
  Location loc = builder.getUnknownLoc();
  DenseMap<Value, LoweredValue> map;
};

LoweredValue ScalarLowering::floorDiv(LoweredValue a, LoweredValue b) {
  IntRange range = floorDivRange(a.range, b.range);
  if (b.range == IntRange::constant(1))
    return a;
  if (a.range.nonNegative() && b.range.positive())
    return {emit<arith::DivUIOp>(a.value, b.value), range};
  if (b.range.positive()) {
    if (b.range.isConstant() && llvm::isPowerOf2_64(b.range.min))
      return {emit<arith::ShRSIOp>(a.value, constant(llvm::Log2_64(b.range.min)).value), range};
    // Below 0 the quotient is the complement of the complement's.
    Value sign = emit<arith::ShRSIOp>(a.value, constant(31).value);
    Value quotient = emit<arith::DivUIOp>(emit<arith::XOrIOp>(a.value, sign), b.value);
    return {emit<arith::XOrIOp>(quotient, sign), range};
  }
  Value zero = constant(0).value, one = constant(1).value;
  // -2^31 / -1 and x / 0 are undefined in arith: divide by 1 there instead.
  Value divisor = b.value, isZero, isMinusOne;
  if (b.range.contains(0)) {
    isZero = compare(Predicate::eq, b.value, zero);
    divisor = select(isZero, one, divisor);
  }
  if (b.range.contains(-1)) {
    isMinusOne = compare(Predicate::eq, b.value, constant(-1).value);
    divisor = select(isMinusOne, one, divisor);
  }
  Value quotient = emit<arith::DivSIOp>(a.value, divisor);
  Value remainder = emit<arith::RemSIOp>(a.value, divisor);
  // Truncation went up where the remainder is not 0 and its sign is not the divisor's.
  Value crossed = compare(Predicate::slt, emit<arith::XOrIOp>(remainder, divisor), zero);
  Value inexact = compare(Predicate::ne, remainder, zero);
  Value tooHigh = emit<arith::AndIOp>(crossed, inexact);
  Value result = emit<arith::SubIOp>(
      quotient, builder.createOrFold<arith::ExtUIOp>(loc, builder.getI32Type(), tooHigh));
  if (isMinusOne)
    result = select(isMinusOne, emit<arith::SubIOp>(zero, a.value), result);
  if (isZero)
    result = select(isZero, zero, result);
  return {result, range};
}

LoweredValue ScalarLowering::floorMod(LoweredValue a, LoweredValue b) {
  IntRange range = floorModRange(a.range, b.range);
  if (a.range.nonNegative() && a.range.max < b.range.min)
    return a;
  if (a.range.nonNegative() && b.range.positive())
    return {emit<arith::RemUIOp>(a.value, b.value), range};
  if (b.range.isConstant() && b.range.min > 0 && llvm::isPowerOf2_64(b.range.min))
    return {emit<arith::AndIOp>(a.value, constant(b.range.min - 1).value), range};
  LoweredValue quotient = floorDiv(a, b);
  Value result = emit<arith::SubIOp>(a.value, emit<arith::MulIOp>(quotient.value, b.value));
  if (b.range.contains(0)) {
    Value zero = constant(0).value;
    result = select(compare(Predicate::eq, b.value, zero), zero, result);
  }
  return {result, range};
}

LoweredValue ScalarLowering::decode(CoordOp op) {
  LoweredValue base = get(op.getBase());
  LoweredValue value = get(op.getToken());
  if (base.range != IntRange::constant(0))
    value = subtract(value, base);
  value = floorDiv(value, get(op.getDivisor()));
  return op.getModulus() ? floorMod(value, get(op.getModulus())) : value;
}

// fptosi is undefined outside i32: clamp first, and let NaN be 0.
LoweredValue ScalarLowering::toInt(ToIntOp op) {
  Value x = get(op.getX()).value;
  auto number = [&](float value) -> Value {
    return arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(value));
  };
  Value ordered = builder.createOrFold<arith::CmpFOp>(loc, arith::CmpFPredicate::OEQ, x, x);
  Value finite = select(ordered, x, number(0));
  Value high = builder.createOrFold<arith::CmpFOp>(loc, arith::CmpFPredicate::OGE, finite,
                                                   number(2147483648.0f));
  Value low = builder.createOrFold<arith::CmpFOp>(loc, arith::CmpFPredicate::OLT, finite,
                                                  number(-2147483648.0f));
  Value inside = select(low, number(0), select(high, number(0), finite));
  Value converted = builder.createOrFold<arith::FPToSIOp>(loc, builder.getI32Type(), inside);
  IntRange range;
  Value result =
      select(high, constant(range.max).value, select(low, constant(range.min).value, converted));
  return {result, range};
}

LogicalResult ScalarLowering::readTable(TableLoadOp op) {
  auto [table, index] = tables.attention.findTable(op.getTable());
  if (!table)
    return op.emitOpError("reads a table that the attention does not declare");
  SmallVector<Value> indices;
  for (Value value : op.getIndices())
    indices.push_back(get(value).value);
  Value result =
      tile::TableLoadOp::create(builder, loc, op.getType(), tables.firstTable + index, indices);
  set(op.getResult(), {result, rangeOfResult(op, {}, tables.attention)});
  return success();
}

LogicalResult ScalarLowering::lower(Operation &op) {
  loc = op.getLoc();
  Value original = op.getResult(0);
  SmallVector<IntRange> ranges;
  for (Value operand : op.getOperands())
    ranges.push_back(get(operand).range);
  IntRange range = rangeOfResult(&op, ranges, tables.attention);
  return TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](PositionOp op) {
        set(original, get(op.getToken()));
        return success();
      })
      .Case([&](CoordOp op) {
        set(original, decode(op));
        return success();
      })
      .Case([&](FloorDivOp op) {
        set(original, floorDiv(get(op.getLhs()), get(op.getRhs())));
        return success();
      })
      .Case([&](FloorModOp op) {
        set(original, floorMod(get(op.getLhs()), get(op.getRhs())));
        return success();
      })
      .Case([&](ToIntOp op) {
        set(original, toInt(op));
        return success();
      })
      .Case([&](ParamOp op) {
        int64_t index = tables.attention.findParam(op.getParam()).second;
        set(original, {tile::ParamOp::create(builder, loc, op.getType(), index), range});
        return success();
      })
      .Case([&](LaunchValueOp op) {
        if (range.isConstant()) {
          set(original, constant(range.min));
          return success();
        }
        // tile.item counts head, batch, layer, heads, kv_heads.
        int64_t which = 2 + static_cast<int64_t>(op.getWhich());
        set(original, {tile::IndexOp::create(builder, loc, builder.getI32Type(), which), range});
        return success();
      })
      .Case([&](TableLoadOp op) { return readTable(op); })
      .Case([&](InputOp op) {
        set(original,
            {tables.inputs.lookup(tables.attention.findInput(op.getInput()).second), range});
        return success();
      })
      .Default([&](Operation *op) -> LogicalResult {
        if (isa<AttnDialect>(op->getDialect()))
          return op->emitOpError("has no lowering to scalars");
        IRMapping copies;
        for (Value operand : op->getOperands())
          copies.map(operand, get(operand).value);
        set(original, {builder.clone(*op, copies)->getResult(0), range});
        return success();
      });
}

} // namespace

FailureOr<SmallVector<Value>> mlir::attn::lowerScalars(OpBuilder &builder, Block &source,
                                                       ArrayRef<LoweredValue> arguments,
                                                       const KernelTables &tables) {
  ScalarLowering lowering(builder, tables);
  for (auto [argument, lowered] : llvm::zip_equal(source.getArguments(), arguments))
    lowering.setArgument(argument, lowered);
  for (Operation &op : source.without_terminator())
    if (failed(lowering.lower(op)))
      return failure();
  SmallVector<Value> results;
  for (Value value : source.getTerminator()->getOperands())
    results.push_back(lowering.lookup(value));
  return results;
}
