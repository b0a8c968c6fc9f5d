// Each named pattern as a predicate and as bounds over a box of coordinates.
#include "dialects/attn/AttnDialect.h"

using namespace mlir;
using namespace mlir::attn;
using Predicate = arith::CmpIPredicate;

// Bounds are written once for intervals; a predicate is the same formula over
// points, because every rule of IntervalBuilder is exact for points.
template <typename PatternOp> static Value expandAsPoints(PatternOp op, OpBuilder &builder) {
  IntervalBuilder intervals(builder, op.getLoc());
  SmallVector<Interval> points;
  for (Value operand : op->getOperands())
    points.push_back(intervals.point(operand, IntRange::all()));
  return op.emitBounds(intervals, points).all;
}

Value CausalOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth CausalOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  return b.compare(Predicate::sge, operands[0], operands[1]);
}

Value WindowOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth WindowOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  return b.compare(Predicate::slt, b.sub(operands[0], operands[1]), operands[2]);
}

Value BandOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth BandOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  Interval behind = b.sub(operands[0], operands[1]), ahead = b.sub(operands[1], operands[0]);
  return b.conjunction(b.compare(Predicate::sle, behind, operands[2]),
                       b.compare(Predicate::sle, ahead, operands[3]));
}

Value SinkOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth SinkOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  return b.compare(Predicate::slt, operands[0], operands[1]);
}

Value SameOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth SameOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  return b.compare(Predicate::eq, operands[0], operands[1]);
}

Value PrefixLmOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth PrefixLmOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  return b.disjunction(b.compare(Predicate::slt, operands[1], operands[2]),
                       b.compare(Predicate::sge, operands[0], operands[1]));
}

Value NeighborhoodOp::expandPredicate(OpBuilder &builder) { return expandAsPoints(*this, builder); }
Truth NeighborhoodOp::emitBounds(IntervalBuilder &b, ArrayRef<Interval> operands) {
  Interval q = operands[0], k = operands[1], length = operands[2];
  Truth sameGroup = b.truth(true);
  if (getDilation() != 1) {
    Interval dilation = b.constant(getDilation());
    Interval group = b.floorMod(q, dilation);
    sameGroup = b.compare(Predicate::eq, group, b.floorMod(k, dilation));
    Truth longer = b.compare(Predicate::slt, group, b.floorMod(length, dilation));
    length = b.add(b.floorDiv(length, dilation), b.fromTruth(longer));
    q = b.floorDiv(q, dilation);
    k = b.floorDiv(k, dilation);
  }
  Interval last = b.sub(length, b.constant(1));
  Interval leader = q;
  if (getStride() != 1) {
    Interval stride = b.constant(getStride());
    leader = b.add(b.mul(b.floorDiv(q, stride), stride), b.constant(getStride() / 2));
  }
  leader = b.min(leader, last);
  int64_t back = getSize() / 2, ahead = getSize() - 1 - back;
  Interval centre = leader;
  if (!getCut())
    centre = b.min(b.max(leader, b.constant(back)), b.sub(last, b.constant(ahead)));
  Interval offset = b.sub(k, centre);
  Truth inside = b.conjunction(b.compare(Predicate::sge, offset, b.constant(-back)),
                               b.compare(Predicate::sle, offset, b.constant(ahead)));
  return b.conjunction(sameGroup, inside);
}
