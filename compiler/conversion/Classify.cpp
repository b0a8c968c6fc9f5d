// Interprets a mask region over intervals, op by op. An op that no rule covers
// yields "may hold, need not hold everywhere", unless it sees single values only.
#include "compiler/conversion/Classify.h"

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
  /// Copies an op all of whose operands are single values.
  bool copied(Operation &op);
  void setSingle(Value original, Value copy, IntRange range);

  bool visitInteger(Operation &op);
  bool visitTruth(Operation &op);
  bool visitSortedTable(TableLoadOp op);

  IntervalBuilder intervals;
  const ClassifyBox &box;
  AttentionOp attention;
  DenseMap<Value, Interval> integers;
  DenseMap<Value, Truth> truths;
  DenseMap<Value, Value> floats; // single f32 values
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
          .Case([&](arith::MulIOp) { return b.mul(in(0), in(1)); })
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
          .Case([&](arith::SelectOp op) {
            return b.select(truth(op.getCondition()), in(1), in(2));
          })
          .Case([&](arith::ExtUIOp op) { return b.fromTruth(truth(op.getIn())); })
          .Default([](Operation *) { return std::nullopt; });
  if (!result)
    return false;
  integers[op.getResult(0)] = *result;
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
    bool usesToken = llvm::any_of(op.getOperandTypes(), llvm::IsaPred<PositionType>);
    if (!usesToken && copied(op))
      continue;
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
    }
  }
  return truth(cast<YieldOp>(mask.getTerminator()).getResult());
}

} // namespace

Truth mlir::attn::emitClassification(OpBuilder &builder, Block &mask, const ClassifyBox &box,
                                     AttentionOp attention) {
  return Classifier(builder, mask.getParentOp()->getLoc(), box, attention).run(mask);
}
