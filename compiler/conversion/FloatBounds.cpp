// Emits the ends of monotone f32 ops.
#include "compiler/conversion/FloatBounds.h"

#include "dialects/attn/AttnDialect.h"

using namespace mlir;
using namespace mlir::attn;
using Predicate = arith::CmpFPredicate;

template <typename OpTy> Value FloatBounds::emit(Value a, Value b) {
  return intervals.getBuilder().createOrFold<OpTy>(intervals.getLoc(), a, b);
}

Value FloatBounds::negate(Value a) {
  return intervals.getBuilder().createOrFold<arith::NegFOp>(intervals.getLoc(), a);
}

Value FloatBounds::isTrue(Predicate predicate, Value a, Value b) {
  return intervals.getBuilder().createOrFold<arith::CmpFOp>(intervals.getLoc(), predicate, a, b);
}

FloatInterval FloatBounds::fromInteger(Interval a) {
  OpBuilder &builder = intervals.getBuilder();
  auto convert = [&](Value value) {
    return builder.createOrFold<arith::SIToFPOp>(intervals.getLoc(), builder.getF32Type(), value);
  };
  Value low = convert(a.low);
  double bound = std::max(std::abs(double(a.range.min)), std::abs(double(a.range.max)));
  return {low, a.isPoint() ? low : convert(a.high), bound};
}

FloatInterval FloatBounds::add(FloatInterval a, FloatInterval b) {
  Value low = emit<arith::AddFOp>(a.low, b.low);
  bool point = a.isPoint() && b.isPoint();
  return {low, point ? low : emit<arith::AddFOp>(a.high, b.high), a.bound + b.bound};
}

FloatInterval FloatBounds::sub(FloatInterval a, FloatInterval b) {
  Value low = emit<arith::SubFOp>(a.low, b.high);
  bool point = a.isPoint() && b.isPoint();
  return {low, point ? low : emit<arith::SubFOp>(a.high, b.low), a.bound + b.bound};
}

FloatInterval FloatBounds::min(FloatInterval a, FloatInterval b) {
  Value low = emit<arith::MinNumFOp>(a.low, b.low);
  bool point = a.isPoint() && b.isPoint();
  return {low, point ? low : emit<arith::MinNumFOp>(a.high, b.high), std::max(a.bound, b.bound)};
}

FloatInterval FloatBounds::max(FloatInterval a, FloatInterval b) {
  Value low = emit<arith::MaxNumFOp>(a.low, b.low);
  bool point = a.isPoint() && b.isPoint();
  return {low, point ? low : emit<arith::MaxNumFOp>(a.high, b.high), std::max(a.bound, b.bound)};
}

FloatInterval FloatBounds::abs(FloatInterval a) {
  OpBuilder &builder = intervals.getBuilder();
  if (a.isPoint()) {
    Value value = builder.createOrFold<math::AbsFOp>(intervals.getLoc(), a.low);
    return {value, value, a.bound};
  }
  Value zero = arith::ConstantOp::create(builder, intervals.getLoc(), builder.getF32FloatAttr(0));
  Value least = emit<arith::MaxNumFOp>(a.low, negate(a.high));
  return {emit<arith::MaxNumFOp>(least, zero), emit<arith::MaxNumFOp>(negate(a.low), a.high),
          a.bound};
}

FloatInterval FloatBounds::select(Truth condition, FloatInterval a, FloatInterval b) {
  OpBuilder &builder = intervals.getBuilder();
  auto choose = [&](Value which, Value a, Value b) {
    return builder.createOrFold<arith::SelectOp>(intervals.getLoc(), which, a, b);
  };
  double bound = std::max(a.bound, b.bound);
  if (condition.isPoint()) {
    Value low = choose(condition.all, a.low, b.low);
    bool point = a.isPoint() && b.isPoint();
    return {low, point ? low : choose(condition.all, a.high, b.high), bound};
  }
  Value low = choose(condition.any, emit<arith::MinNumFOp>(a.low, b.low), b.low);
  Value high = choose(condition.any, emit<arith::MaxNumFOp>(a.high, b.high), b.high);
  return {choose(condition.all, a.low, low), choose(condition.all, a.high, high), bound};
}

FloatInterval FloatBounds::scale(FloatInterval a, Value constant, double value, bool divide) {
  auto apply = [&](Value end) {
    return divide ? emit<arith::DivFOp>(end, constant) : emit<arith::MulFOp>(end, constant);
  };
  Value low = apply(value > 0 ? a.low : a.high);
  Value high = a.isPoint() ? low : apply(value > 0 ? a.high : a.low);
  double factor = divide ? 1 / std::abs(value) : std::abs(value);
  return {low, high, a.bound * factor};
}

Interval FloatBounds::toInteger(FloatInterval a) {
  OpBuilder &builder = intervals.getBuilder();
  auto convert = [&](Value value) {
    return builder.createOrFold<ToIntOp>(intervals.getLoc(), builder.getI32Type(), value);
  };
  IntRange range;
  if (a.bound < double(range.max))
    range = {-int64_t(a.bound) - 1, int64_t(a.bound) + 1};
  Value low = convert(a.low);
  return {low, a.isPoint() ? low : convert(a.high), range};
}

std::optional<Truth> FloatBounds::compare(Predicate predicate, FloatInterval a, FloatInterval b) {
  switch (predicate) {
  case Predicate::OGT:
    return compare(Predicate::OLT, b, a);
  case Predicate::OGE:
    return compare(Predicate::OLE, b, a);
  case Predicate::OLT:
  case Predicate::OLE: {
    Value any = isTrue(predicate, a.low, b.high);
    bool point = a.isPoint() && b.isPoint();
    return Truth{any, point ? any : isTrue(predicate, a.high, b.low)};
  }
  case Predicate::OEQ: {
    if (a.isPoint() && b.isPoint())
      return intervals.pointTruth(isTrue(Predicate::OEQ, a.low, b.low));
    Value any = emit<arith::AndIOp>(isTrue(Predicate::OLE, a.low, b.high),
                                    isTrue(Predicate::OLE, b.low, a.high));
    Value all = emit<arith::AndIOp>(isTrue(Predicate::OEQ, a.low, b.high),
                                    isTrue(Predicate::OEQ, a.high, b.low));
    return Truth{any, all};
  }
  case Predicate::UNE:
    return intervals.negation(*compare(Predicate::OEQ, a, b));
  default:
    return std::nullopt;
  }
}
