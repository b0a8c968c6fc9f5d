// Emits interval arithmetic: intervals whose ends are i32 values enter, ops
// that compute the ends of the result are created at the insertion point.
#pragma once

#include "dialects/attn/Range.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

namespace mlir::attn {

/// All values from `low` to `high`, both included. `range` holds both ends.
struct Interval {
  Value low, high;
  IntRange range;
  /// Exactly one value, known to the program that is being built.
  bool isPoint() const { return low == high; }
};

/// What is known of a predicate over a box: `any` is false only if it holds
/// nowhere in the box, `all` is true only if it holds everywhere.
struct Truth {
  Value any, all;
  bool isPoint() const { return any == all; }
};

class IntervalBuilder {
public:
  IntervalBuilder(OpBuilder &builder, Location loc) : builder(builder), loc(loc) {}

  OpBuilder &getBuilder() { return builder; }
  Location getLoc() const { return loc; }
  void setLoc(Location newLoc) { loc = newLoc; }

  Interval constant(int64_t value);
  Interval point(Value value, IntRange range) { return {value, value, range}; }
  /// Any value of `range`, which is all that is known.
  Interval anything(IntRange range = IntRange::all());

  Interval add(Interval a, Interval b);
  Interval sub(Interval a, Interval b);
  Interval mul(Interval a, Interval b);
  /// `a` times a point that is not negative, where the products of all values of
  /// `a` are known to lie in `range`.
  Interval mulWithin(Interval a, Interval factor, IntRange range);
  Interval floorDiv(Interval a, Interval b);
  Interval floorMod(Interval a, Interval b);
  Interval abs(Interval a);
  Interval min(Interval a, Interval b);
  Interval max(Interval a, Interval b);
  Interval bitAnd(Interval a, Interval b);
  Interval bitOr(Interval a, Interval b);
  Interval bitXor(Interval a, Interval b);
  Interval shiftLeft(Interval a, Interval amount);
  Interval shiftRight(Interval a, Interval amount);
  Interval select(Truth condition, Interval a, Interval b);
  Interval fromTruth(Truth truth); // 0 or 1

  Truth truth(bool value);
  Truth unknown();
  Truth pointTruth(Value value) { return {value, value}; }
  /// Signed predicates, eq and ne.
  Truth compare(arith::CmpIPredicate predicate, Interval a, Interval b);
  Truth conjunction(Truth a, Truth b);
  Truth disjunction(Truth a, Truth b);
  Truth negation(Truth a);
  Truth exclusiveOr(Truth a, Truth b);
  Truth select(Truth condition, Truth a, Truth b);

private:
  /// An end of an interval: a value and the range it lies in.
  struct End {
    Value value;
    IntRange range;
  };
  static End low(Interval a) { return {a.low, a.range}; }
  static End high(Interval a) { return {a.high, a.range}; }
  Value minimum(End a, End b);
  Value maximum(End a, End b);
  Value isTrue(arith::CmpIPredicate predicate, End a, End b);
  Value boolean(bool value);
  template <typename OpTy> Value emit(Value a, Value b) {
    return builder.createOrFold<OpTy>(loc, a, b);
  }
  template <typename OpTy> Interval pointOp(Interval a, Interval b, IntRange range) {
    Value value = emit<OpTy>(a.low, b.low);
    return {value, value, range};
  }
  Interval unlessWrapped(Interval result, Interval a, Interval b);
  Interval extremes(End a, End b, IntRange range); // of two values in either order

  OpBuilder &builder;
  Location loc;
};

} // namespace mlir::attn
