// Interval arithmetic as emitted ops. Every rule is sound for wrapping i32: an
// interval whose ends might wrap is widened to everything, a point may wrap.
#include "dialects/attn/IntervalBuilder.h"

#include "dialects/attn/AttnDialect.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::attn;
using Predicate = arith::CmpIPredicate;

//===-- Ends --------------------------------------------------------------===//

Value IntervalBuilder::minimum(End a, End b) {
  if (a.value == b.value || a.range.max <= b.range.min)
    return a.value;
  if (b.range.max <= a.range.min)
    return b.value;
  return emit<arith::MinSIOp>(a.value, b.value);
}

Value IntervalBuilder::maximum(End a, End b) {
  if (a.value == b.value || a.range.min >= b.range.max)
    return a.value;
  if (b.range.min >= a.range.max)
    return b.value;
  return emit<arith::MaxSIOp>(a.value, b.value);
}

Value IntervalBuilder::boolean(bool value) {
  return arith::ConstantOp::create(builder, loc, builder.getBoolAttr(value));
}

Value IntervalBuilder::isTrue(Predicate predicate, End a, End b) {
  switch (predicate) {
  case Predicate::sge:
    return isTrue(Predicate::sle, b, a);
  case Predicate::sgt:
    return isTrue(Predicate::slt, b, a);
  case Predicate::slt:
    if (a.range.max < b.range.min)
      return boolean(true);
    if (a.range.min >= b.range.max)
      return boolean(false);
    break;
  case Predicate::sle:
    if (a.range.max <= b.range.min)
      return boolean(true);
    if (a.range.min > b.range.max)
      return boolean(false);
    break;
  default:
    break;
  }
  return builder.createOrFold<arith::CmpIOp>(loc, predicate, a.value, b.value);
}

Interval IntervalBuilder::extremes(End a, End b, IntRange range) {
  Value low = minimum(a, b), high = maximum(a, b);
  return {low, high, range};
}

//===-- Integers ------------------------------------------------------------===//

Interval IntervalBuilder::constant(int64_t value) {
  Value constant = arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(value));
  return point(constant, IntRange::constant(value));
}

Interval IntervalBuilder::anything(IntRange range) {
  return {constant(range.min).low, constant(range.max).low, range};
}

Interval IntervalBuilder::add(Interval a, Interval b) {
  IntRange range = addRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<arith::AddIOp>(a, b, range);
  Interval result{emit<arith::AddIOp>(a.low, b.low), emit<arith::AddIOp>(a.high, b.high), range};
  return mayWrapAdd(a.range, b.range) ? unlessWrapped(result, a, b) : result;
}

// The ends of a sum or difference that may wrap. The values form an arc of the
// numbers modulo 2^32 as long as both widths together; it is an interval if it
// does not pass from 2^31 - 1 to -2^31, which shows in the order of its ends as
// long as it is shorter than a whole turn.
Interval IntervalBuilder::unlessWrapped(Interval result, Interval a, Interval b) {
  Value valid =
      isTrue(Predicate::sle, {result.low, IntRange::all()}, {result.high, IntRange::all()});
  for (Interval part : {a, b})
    if (!a.isPoint() && !b.isPoint() && part.range.max - part.range.min > IntRange().max) {
      Value width = emit<arith::SubIOp>(part.high, part.low);
      valid = emit<arith::AndIOp>(
          valid, isTrue(Predicate::sge, {width, IntRange::all()}, low(constant(0))));
    }
  Interval all = anything();
  auto choose = [&](Value end, Value widest) {
    return builder.createOrFold<arith::SelectOp>(loc, valid, end, widest);
  };
  return {choose(result.low, all.low), choose(result.high, all.high), IntRange::all()};
}

Interval IntervalBuilder::sub(Interval a, Interval b) {
  IntRange range = subRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<arith::SubIOp>(a, b, range);
  Interval result{emit<arith::SubIOp>(a.low, b.high), emit<arith::SubIOp>(a.high, b.low), range};
  return mayWrapSub(a.range, b.range) ? unlessWrapped(result, a, b) : result;
}

Interval IntervalBuilder::mul(Interval a, Interval b) {
  IntRange range = mulRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<arith::MulIOp>(a, b, range);
  if (mayWrapMul(a.range, b.range))
    return anything();
  if (a.range.nonNegative() && b.range.nonNegative())
    return {emit<arith::MulIOp>(a.low, b.low), emit<arith::MulIOp>(a.high, b.high), range};
  Interval result = extremes({emit<arith::MulIOp>(a.low, b.low), range},
                             {emit<arith::MulIOp>(a.high, b.high), range}, range);
  Interval crossed = extremes({emit<arith::MulIOp>(a.low, b.high), range},
                              {emit<arith::MulIOp>(a.high, b.low), range}, range);
  return {minimum(low(result), low(crossed)), maximum(high(result), high(crossed)), range};
}

Interval IntervalBuilder::mulWithin(Interval a, Interval factor, IntRange range) {
  Value least = emit<arith::MulIOp>(a.low, factor.low);
  return {least, a.isPoint() ? least : emit<arith::MulIOp>(a.high, factor.low), range};
}

Interval IntervalBuilder::floorDiv(Interval a, Interval b) {
  IntRange range = floorDivRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<FloorDivOp>(a, b, range);
  // Only -2^31 / -1 wraps.
  if (a.range.contains(IntRange().min) && b.range.contains(-1))
    return anything();
  if (b.isPoint()) {
    End first{emit<FloorDivOp>(a.low, b.low), range}, last{emit<FloorDivOp>(a.high, b.low), range};
    if (b.range.nonNegative())
      return {first.value, last.value, range};
    return extremes(first, last, range);
  }
  if (!b.range.positive())
    return anything(range);
  // For a >= 0 the largest divisor gives the least quotient; for a < 0 the least.
  auto quotients = [&](Value value) {
    return extremes({emit<FloorDivOp>(value, b.low), range},
                    {emit<FloorDivOp>(value, b.high), range}, range);
  };
  return {quotients(a.low).low, quotients(a.high).high, range};
}

Interval IntervalBuilder::floorMod(Interval a, Interval b) {
  IntRange range = floorModRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<FloorModOp>(a, b, range);
  if (a.range.nonNegative() && a.range.max < b.range.min)
    return a;
  if (!b.range.positive())
    return anything(range);
  Interval most = sub(b, constant(1));
  if (!b.isPoint())
    return {constant(0).low, most.high, range};
  // Within one period the remainder follows the value; across a border it can
  // be anything.
  Value same = builder.createOrFold<arith::CmpIOp>(
      loc, Predicate::eq, emit<FloorDivOp>(a.low, b.low), emit<FloorDivOp>(a.high, b.low));
  Value least = builder.createOrFold<arith::SelectOp>(loc, same, emit<FloorModOp>(a.low, b.low),
                                                      constant(0).low);
  Value greatest =
      builder.createOrFold<arith::SelectOp>(loc, same, emit<FloorModOp>(a.high, b.low), most.high);
  return {least, greatest, range};
}

Interval IntervalBuilder::abs(Interval a) {
  IntRange range = absRange(a.range);
  if (a.isPoint()) {
    Value value = builder.createOrFold<math::AbsIOp>(loc, a.low);
    return {value, value, range};
  }
  if (a.range.nonNegative())
    return a;
  if (a.range.contains(IntRange().min))
    return anything();
  Interval zero = constant(0);
  Interval negated = sub(zero, a);
  if (a.range.max <= 0)
    return {negated.low, negated.high, range};
  Value least = maximum(low(a), low(negated));
  return {maximum({least, a.range.unite(negated.range)}, low(zero)),
          maximum(high(a), high(negated)), range};
}

Interval IntervalBuilder::min(Interval a, Interval b) {
  Value least = minimum(low(a), low(b));
  Value most = a.isPoint() && b.isPoint() ? least : minimum(high(a), high(b));
  return {least, most, minRange(a.range, b.range)};
}

Interval IntervalBuilder::max(Interval a, Interval b) {
  Value least = maximum(low(a), low(b));
  Value most = a.isPoint() && b.isPoint() ? least : maximum(high(a), high(b));
  return {least, most, maxRange(a.range, b.range)};
}

Interval IntervalBuilder::bitAnd(Interval a, Interval b) {
  IntRange range = andRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<arith::AndIOp>(a, b, range);
  if (a.range.isConstant())
    std::swap(a, b);
  // x & (2^n - 1) is x mod 2^n, also for negative x.
  if (b.range.isConstant() && b.range.min >= 0 && (b.range.min & (b.range.min + 1)) == 0 &&
      b.range.min < IntRange().max)
    return floorMod(a, constant(b.range.min + 1));
  if (a.range.nonNegative() && b.range.nonNegative())
    return {constant(0).low, minimum(high(a), high(b)), range};
  return anything(range);
}

Interval IntervalBuilder::bitOr(Interval a, Interval b) {
  IntRange range = orRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<arith::OrIOp>(a, b, range);
  if (!a.range.nonNegative() || !b.range.nonNegative() || mayWrapAdd(a.range, b.range))
    return anything(range);
  // max(a, b) <= a | b <= a + b.
  return {maximum(low(a), low(b)),
          minimum({emit<arith::AddIOp>(a.high, b.high), addRange(a.range, b.range)},
                  {constant(range.max).low, IntRange::constant(range.max)}),
          range};
}

Interval IntervalBuilder::bitXor(Interval a, Interval b) {
  IntRange range = orRange(a.range, b.range);
  if (a.isPoint() && b.isPoint())
    return pointOp<arith::XOrIOp>(a, b, range);
  // x ^ -1 is the bitwise complement, -1 - x.
  if (b.range == IntRange::constant(-1))
    return sub(constant(-1), a);
  if (!a.range.nonNegative() || !b.range.nonNegative() || mayWrapAdd(a.range, b.range))
    return anything(range);
  return {constant(0).low, bitOr(a, b).high, range};
}

Interval IntervalBuilder::shiftLeft(Interval a, Interval amount) {
  IntRange range = shiftLeftRange(a.range, amount.range);
  if (a.isPoint() && amount.isPoint())
    return pointOp<arith::ShLIOp>(a, amount, range);
  if (!amount.range.isConstant() || amount.range.min < 0 || amount.range.min > 30)
    return anything(range);
  return mul(a, constant(int64_t(1) << amount.range.min));
}

Interval IntervalBuilder::shiftRight(Interval a, Interval amount) {
  IntRange range = shiftRightRange(a.range, amount.range);
  if (a.isPoint() && amount.isPoint())
    return pointOp<arith::ShRSIOp>(a, amount, range);
  if (!amount.isPoint() || amount.range.min < 0 || amount.range.max > 31)
    return anything(range);
  return {emit<arith::ShRSIOp>(a.low, amount.low), emit<arith::ShRSIOp>(a.high, amount.low), range};
}

Interval IntervalBuilder::select(Truth condition, Interval a, Interval b) {
  IntRange range = a.range.unite(b.range);
  auto choose = [&](Value always, Value a, Value b) {
    return builder.createOrFold<arith::SelectOp>(loc, always, a, b);
  };
  if (condition.isPoint()) {
    Value least = choose(condition.all, a.low, b.low);
    Value most = a.isPoint() && b.isPoint() ? least : choose(condition.all, a.high, b.high);
    return {least, most, range};
  }
  Value least = choose(condition.any, minimum(low(a), low(b)), b.low);
  Value most = choose(condition.any, maximum(high(a), high(b)), b.high);
  return {choose(condition.all, a.low, least), choose(condition.all, a.high, most), range};
}

Interval IntervalBuilder::fromTruth(Truth truth) {
  Type i32 = builder.getI32Type();
  Value least = builder.createOrFold<arith::ExtUIOp>(loc, i32, truth.all);
  Value most = truth.isPoint() ? least : builder.createOrFold<arith::ExtUIOp>(loc, i32, truth.any);
  return {least, most, {0, 1}};
}

//===-- Truths --------------------------------------------------------------===//

Truth IntervalBuilder::truth(bool value) { return pointTruth(boolean(value)); }
Truth IntervalBuilder::unknown() { return {boolean(true), boolean(false)}; }

Truth IntervalBuilder::compare(Predicate predicate, Interval a, Interval b) {
  bool points = a.isPoint() && b.isPoint();
  switch (predicate) {
  case Predicate::sge:
    return compare(Predicate::sle, b, a);
  case Predicate::sgt:
    return compare(Predicate::slt, b, a);
  case Predicate::ne:
    return negation(compare(Predicate::eq, a, b));
  case Predicate::slt:
  case Predicate::sle: {
    Value any = isTrue(predicate, low(a), high(b));
    return {any, points ? any : isTrue(predicate, high(a), low(b))};
  }
  case Predicate::eq: {
    if (points)
      return pointTruth(isTrue(Predicate::eq, low(a), low(b)));
    Value any = emit<arith::AndIOp>(isTrue(Predicate::sle, low(a), high(b)),
                                    isTrue(Predicate::sle, low(b), high(a)));
    // All are equal only if both are one value: low = high follows from these two.
    Value all = emit<arith::AndIOp>(isTrue(Predicate::eq, low(a), high(b)),
                                    isTrue(Predicate::eq, high(a), low(b)));
    return {any, all};
  }
  default:
    return unknown();
  }
}

Truth IntervalBuilder::conjunction(Truth a, Truth b) {
  Value any = emit<arith::AndIOp>(a.any, b.any);
  return {any, a.isPoint() && b.isPoint() ? any : emit<arith::AndIOp>(a.all, b.all)};
}

Truth IntervalBuilder::disjunction(Truth a, Truth b) {
  Value any = emit<arith::OrIOp>(a.any, b.any);
  return {any, a.isPoint() && b.isPoint() ? any : emit<arith::OrIOp>(a.all, b.all)};
}

Truth IntervalBuilder::negation(Truth a) {
  Value yes = boolean(true);
  Value any = emit<arith::XOrIOp>(a.all, yes);
  return {any, a.isPoint() ? any : emit<arith::XOrIOp>(a.any, yes)};
}

Truth IntervalBuilder::exclusiveOr(Truth a, Truth b) {
  return disjunction(conjunction(a, negation(b)), conjunction(negation(a), b));
}

Truth IntervalBuilder::select(Truth condition, Truth a, Truth b) {
  Truth either = disjunction(conjunction(condition, a), conjunction(negation(condition), b));
  if (condition.isPoint())
    return either;
  // Whatever the condition, both branches holding is enough.
  return {either.any, emit<arith::OrIOp>(either.all, emit<arith::AndIOp>(a.all, b.all))};
}
