// Derives tile classes from a mask: what a predicate is over a box of query and
// key positions, as emitted scalar ops.
#pragma once

#include "dialects/attn/AttnDialect.h"

namespace mlir::attn {

/// The box over which a mask is classified, and the work item's head and batch.
struct ClassifyBox {
  Interval query, key;
  Interval head, batch;
  /// Values of the mask (i32, or i1 as 0 and 1) that are known to lie in an interval;
  /// the rest is derived from these instead of from what they are computed of.
  DenseMap<Value, Interval> known{};
};

/// Emits at `builder`'s insertion point what the scalar region `mask` (of an
/// attn.attention or attn.recache) is over `box`. Sound for every mask; exact
/// for boxes of the patterns' coordinates. Emits attn and arith scalar ops.
Truth emitClassification(OpBuilder &builder, Block &mask, const ClassifyBox &box,
                         AttentionOp attention);

/// The range of an i32 or i1 result of a scalar op, from its operands' ranges.
/// `attention` knows parameters and tables.
IntRange rangeOfResult(Operation *op, ArrayRef<IntRange> operands, AttentionOp attention);

} // namespace mlir::attn
