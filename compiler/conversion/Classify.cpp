// Interprets a mask region over intervals, op by op. An op that no rule covers
// yields "may hold, need not hold everywhere", unless it sees single values only.
#include "compiler/conversion/Classify.h"
#include "compiler/conversion/FloatBounds.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

class Classifier {
public:
  Classifier(OpBuilder &builder, Location loc, const ClassifyBox &box, AttentionOp attention)
      : intervals(builder, loc), box(box), attention(attention) {}

  Truth run(Block &mask);

private:
  Interval positions(Value token) {
    auto side = cast<PositionType>(token.getType()).getSide();
    return side == Side::query ? box.query : box.key;
  }
  Interval integer(Value value) {
    auto known = integers.find(value);
    return known == integers.end() ? intervals.anything() : known->second;
  }
  Truth truth(Value value) {
    auto known = truths.find(value);
    return known == truths.end() ? intervals.unknown() : known->second;
  }
  /// The value itself, where it is the same all over the box.
  Value single(Value value);
  /// What is known of a float; absent where it may be anything, NaN included.
  std::optional<FloatInterval> number(Value value) {
    auto known = numbers.find(value);
    return known == numbers.end() ? std::nullopt : std::optional(known->second);
  }
  /// Copies an op all of whose operands are single values.
  bool copied(Operation &op);
  void setSingle(Value original, Value copy, IntRange range);

  Interval product(Value left, Value right);
  bool visitInteger(Operation &op);
  bool visitTruth(Operation &op);
  bool visitFloat(Operation &op);
  std::optional<FloatInterval> scaled(Operation &op, bool divide);
  bool visitSortedTable(TableLoadOp op);

  IntervalBuilder intervals;
  const ClassifyBox &box;
  AttentionOp attention;
  DenseMap<Value, Interval> integers;
  DenseMap<Value, Truth> truths;
  DenseMap<Value, Value> floats;          // single f32 values, NaN not excluded
  DenseMap<Value, FloatInterval> numbers; // finite f32 values
};

Value Classifier::single(Value value) {
  if (auto known = integers.find(value); known != integers.end())
    return known->second.isPoint() ? known->second.low : Value();
  if (auto known = truths.find(value); known != truths.end())
    return known->second.isPoint() ? known->second.any : Value();
  return floats.lookup(value);
}

void Classifier::setSingle(Value original, Value copy, IntRange range) {
  Type type = original.getType();
  if (type.isInteger(1))
    truths[original] = intervals.pointTruth(copy);
  else if (type.isInteger(32))
    integers[original] = intervals.point(copy, range);
  else
    floats[original] = copy;
}

// A copied float op is a finite number where it is a constant or a parameter.
static std::optional<double> finiteBound(Operation &op, AttentionOp attention) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    if (auto value = dyn_cast<FloatAttr>(constant.getValue()))
      return std::abs(value.getValueAsDouble());
  if (auto param = dyn_cast<attn::ParamOp>(op))
    if (auto attr = attention ? attention.findParam(param.getParam()).first : attn::ParamAttr())
      if (auto least = dyn_cast<FloatAttr>(attr.getMinimum()))
        return std::max(std::abs(least.getValueAsDouble()),
                        std::abs(cast<FloatAttr>(attr.getMaximum()).getValueAsDouble()));
  return std::nullopt;
}

bool Classifier::copied(Operation &op) {
  IRMapping map;
  SmallVector<IntRange> ranges;
  for (Value operand : op.getOperands()) {
    Value value = single(operand);
    if (!value)
      return false;
    map.map(operand, value);
    auto known = integers.find(operand);
    ranges.push_back(known == integers.end() ? IntRange{0, 1} : known->second.range);
  }
  Operation *copy = intervals.getBuilder().clone(op, map);
  setSingle(op.getResult(0), copy->getResult(0), rangeOfResult(&op, ranges, attention));
  if (auto bound = finiteBound(op, attention); bound && *bound <= kMaxFloatBound)
    numbers[op.getResult(0)] = {copy->getResult(0), copy->getResult(0), *bound};
  return true;
}

// A sorted table maps an interval of indices to the interval of its ends' elements.
bool Classifier::visitSortedTable(TableLoadOp op) {
  TableAttr table = attention ? attention.findTable(op.getTable()).first : TableAttr();
  if (!table || !table.getSorted())
    return false;
  Interval index = integer(op.getIndices()[0]);
  auto read = [&](Value at) {
    return TableLoadOp::create(intervals.getBuilder(), op.getLoc(), op.getType(), op.getTable(),
                               ValueRange{at})
        .getResult();
  };
  integers[op.getResult()] = {read(index.low), read(index.high), IntRange::all()};
  return true;
}

// Whether `value` is `factor` times numbers that are at least 1.
static bool isMultiple(Value value, Value factor, llvm::function_ref<IntRange(Value)> rangeOf) {
  if (value == factor)
    return true;
  auto param = value.getDefiningOp<ParamOp>(), other = factor.getDefiningOp<ParamOp>();
  if (param && other)
    return param.getParam() == other.getParam();
  auto constant = value.getDefiningOp<arith::ConstantOp>(),
       same = factor.getDefiningOp<arith::ConstantOp>();
  if (constant && same)
    return constant.getValue() == same.getValue();
  auto product = value.getDefiningOp<arith::MulIOp>();
  return product &&
         ((isMultiple(product.getLhs(), factor, rangeOf) && rangeOf(product.getRhs()).positive()) ||
          (isMultiple(product.getRhs(), factor, rangeOf) && rangeOf(product.getLhs()).positive()));
}

// x // (n * m) * n lies within n below x, so it wraps only where x is extreme; and
// (y + c) * n is y * n + c * n.
Interval Classifier::product(Value left, Value right) {
  IntervalBuilder &b = intervals;
  Interval plain = integer(left), factor = integer(right);
  auto rangeOf = [&](Value value) { return integer(value).range; };
  if (!factor.isPoint() || !factor.range.positive() || !mayWrapMul(plain.range, factor.range))
    return b.mul(plain, factor);
  Value divisor;
  IntRange dividend;
  if (auto quotient = left.getDefiningOp<FloorDivOp>()) {
    divisor = quotient.getRhs();
    dividend = rangeOf(quotient.getLhs());
  } else if (auto coord = left.getDefiningOp<CoordOp>(); coord && !coord.getModulus()) {
    divisor = coord.getDivisor();
    dividend = subRange(positions(coord.getToken()).range, rangeOf(coord.getBase()));
  }
  if (divisor && !dividend.isAll() && isMultiple(divisor, right, rangeOf)) {
    IntRange range = IntRange::orAll(std::min<int64_t>(dividend.min, 0) - factor.range.max,
                                     std::max<int64_t>(dividend.max, 0));
    if (!range.isAll())
      return b.mulWithin(plain, factor, range);
  }
  auto sum = left.getDefiningOp<arith::AddIOp>();
  if (sum && integer(sum.getRhs()).isPoint() && !mayWrapMul(rangeOf(sum.getRhs()), factor.range))
    return b.add(product(sum.getLhs(), right), b.mul(integer(sum.getRhs()), factor));
  return b.mul(plain, factor);
}

bool Classifier::visitInteger(Operation &op) {
  IntervalBuilder &b = intervals;
  auto in = [&](unsigned i) { return integer(op.getOperand(i)); };
  std::optional<Interval> result =
      TypeSwitch<Operation *, std::optional<Interval>>(&op)
          .Case([&](PositionOp op) { return positions(op.getToken()); })
          .Case([&](CoordOp op) {
            Interval value = b.sub(positions(op.getToken()), integer(op.getBase()));
            value = b.floorDiv(value, integer(op.getDivisor()));
            return op.getModulus() ? b.floorMod(value, integer(op.getModulus())) : value;
          })
          .Case([&](arith::AddIOp) { return b.add(in(0), in(1)); })
          .Case([&](arith::SubIOp) { return b.sub(in(0), in(1)); })
          .Case([&](arith::MulIOp op) { return product(op.getLhs(), op.getRhs()); })
          .Case([&](FloorDivOp) { return b.floorDiv(in(0), in(1)); })
          .Case([&](FloorModOp) { return b.floorMod(in(0), in(1)); })
          .Case([&](arith::MinSIOp) { return b.min(in(0), in(1)); })
          .Case([&](arith::MaxSIOp) { return b.max(in(0), in(1)); })
          .Case([&](math::AbsIOp) { return b.abs(in(0)); })
          .Case([&](arith::AndIOp) { return b.bitAnd(in(0), in(1)); })
          .Case([&](arith::OrIOp) { return b.bitOr(in(0), in(1)); })
          .Case([&](arith::XOrIOp) { return b.bitXor(in(0), in(1)); })
          .Case([&](arith::ShLIOp) { return b.shiftLeft(in(0), in(1)); })
          .Case([&](arith::ShRSIOp) { return b.shiftRight(in(0), in(1)); })
          .Case(
              [&](arith::SelectOp op) { return b.select(truth(op.getCondition()), in(1), in(2)); })
          .Case([&](arith::ExtUIOp op) { return b.fromTruth(truth(op.getIn())); })
          .Case([&](ToIntOp op) -> std::optional<Interval> {
            auto x = number(op.getX());
            return x ? std::optional(FloatBounds(b).toInteger(*x)) : std::nullopt;
          })
          .Default([](Operation *) { return std::nullopt; });
  if (!result)
    return false;
  integers[op.getResult(0)] = *result;
  return true;
}

// A product with, or a quotient by, a constant.
std::optional<FloatInterval> Classifier::scaled(Operation &op, bool divide) {
  for (unsigned side : {1u, 0u}) {
    auto constant = op.getOperand(side).getDefiningOp<arith::ConstantOp>();
    auto other = number(op.getOperand(1 - side));
    auto factor = number(op.getOperand(side));
    if (constant && other && factor && (side == 1 || !divide)) {
      double value = cast<FloatAttr>(constant.getValue()).getValueAsDouble();
      if (value != 0 && (!divide || std::abs(value) > 1e-6))
        return FloatBounds(intervals).scale(*other, factor->low, value, divide);
    }
  }
  return std::nullopt;
}

bool Classifier::visitFloat(Operation &op) {
  FloatBounds b(intervals);
  using Result = std::optional<FloatInterval>;
  auto binary = [&](FloatInterval (FloatBounds::*rule)(FloatInterval, FloatInterval)) -> Result {
    Result x = number(op.getOperand(0)), y = number(op.getOperand(1));
    return x && y ? Result((b.*rule)(*x, *y)) : std::nullopt;
  };
  Result result =
      TypeSwitch<Operation *, Result>(&op)
          .Case([&](arith::SIToFPOp op) { return b.fromInteger(integer(op.getIn())); })
          .Case([&](arith::AddFOp) { return binary(&FloatBounds::add); })
          .Case([&](arith::SubFOp) { return binary(&FloatBounds::sub); })
          .Case([&](arith::MinNumFOp) { return binary(&FloatBounds::min); })
          .Case([&](arith::MaxNumFOp) { return binary(&FloatBounds::max); })
          .Case([&](arith::MulFOp op) { return scaled(*op, /*divide=*/false); })
          .Case([&](arith::DivFOp op) { return scaled(*op, /*divide=*/true); })
          .Case([&](math::AbsFOp op) -> Result {
            Result x = number(op.getOperand());
            return x ? Result(b.abs(*x)) : std::nullopt;
          })
          .Case([&](arith::SelectOp op) -> Result {
            Result x = number(op.getTrueValue()), y = number(op.getFalseValue());
            return x && y ? Result(b.select(truth(op.getCondition()), *x, *y)) : std::nullopt;
          })
          .Default([](Operation *) { return std::nullopt; });
  if (!result || !(result->bound <= kMaxFloatBound))
    return false;
  numbers[op.getResult(0)] = *result;
  return true;
}

bool Classifier::visitTruth(Operation &op) {
  IntervalBuilder &b = intervals;
  auto in = [&](unsigned i) { return truth(op.getOperand(i)); };
  std::optional<Truth> result =
      TypeSwitch<Operation *, std::optional<Truth>>(&op)
          .Case([&](PatternOpInterface pattern) {
            SmallVector<Interval> operands;
            for (Value operand : op.getOperands())
              operands.push_back(integer(operand));
            return pattern.emitBounds(b, operands);
          })
          .Case([&](arith::CmpIOp op) -> std::optional<Truth> {
            if (!op.getLhs().getType().isInteger(32))
              return std::nullopt;
            return b.compare(op.getPredicate(), integer(op.getLhs()), integer(op.getRhs()));
          })
          .Case([&](arith::CmpFOp op) -> std::optional<Truth> {
            auto x = number(op.getLhs()), y = number(op.getRhs());
            return x && y ? FloatBounds(b).compare(op.getPredicate(), *x, *y) : std::nullopt;
          })
          .Case([&](arith::AndIOp) { return b.conjunction(in(0), in(1)); })
          .Case([&](arith::OrIOp) { return b.disjunction(in(0), in(1)); })
          .Case([&](arith::XOrIOp) { return b.exclusiveOr(in(0), in(1)); })
          .Case([&](arith::SelectOp) { return b.select(in(0), in(1), in(2)); })
          .Default([](Operation *) { return std::nullopt; });
  if (!result)
    return false;
  truths[op.getResult(0)] = *result;
  return true;
}

Truth Classifier::run(Block &mask) {
  integers[mask.getArgument(AttentionOp::MaskHead)] = box.head;
  integers[mask.getArgument(AttentionOp::MaskBatch)] = box.batch;
  for (Operation &op : mask.without_terminator()) {
    intervals.setLoc(op.getLoc());
    Type type = op.getResult(0).getType();
    if (auto known = box.known.find(op.getResult(0)); known != box.known.end()) {
      if (type.isInteger(1))
        truths[known->first] =
            intervals.compare(arith::CmpIPredicate::ne, known->second, intervals.constant(0));
      else
        integers[known->first] = known->second;
      continue;
    }
    bool usesToken = llvm::any_of(op.getOperandTypes(), llvm::IsaPred<PositionType>);
    if (!usesToken && copied(op)) {
      // A single float may be known to be finite as well.
      if (type.isF32() && !numbers.contains(op.getResult(0)))
        visitFloat(op);
      continue;
    }
    if (type.isInteger(32)) {
      auto table = dyn_cast<TableLoadOp>(op);
      if ((table && visitSortedTable(table)) || visitInteger(op))
        continue;
      // An integer that no rule covers still has the range of its kind.
      SmallVector<IntRange> operands(op.getNumOperands(), IntRange::all());
      integers[op.getResult(0)] = intervals.anything(rangeOfResult(&op, operands, attention));
    } else if (type.isInteger(1)) {
      if (!visitTruth(op))
        truths[op.getResult(0)] = intervals.unknown();
    } else {
      visitFloat(op);
    }
  }
  return truth(cast<YieldOp>(mask.getTerminator()).getResult());
}

} // namespace

Truth mlir::attn::emitClassification(OpBuilder &builder, Block &mask, const ClassifyBox &box,
                                     AttentionOp attention) {
  return Classifier(builder, mask.getParentOp()->getLoc(), box, attention).run(mask);
}
