// Inlines the scalar regions of tile ops (mask, score, classify) into a kernel
// that a target is lowering, with lanes for the values that differ by lane.
#pragma once

#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

#include <functional>

namespace mlir::attn {

/// How a target reads what a scalar region can name besides its arguments.
struct ScalarContext {
  /// The runtime parameter `index` as `type` (i32 or f32).
  std::function<Value(OpBuilder &, Location, int64_t index, Type type)> param;
  /// Head (0), batch entry (1) or layer (2) as i32.
  std::function<Value(OpBuilder &, Location, int64_t which)> item;
  /// An element of a table; `indices` are scalars, or all vectors of one length,
  /// and the result matches. The callee clamps indices to the extents.
  std::function<Value(OpBuilder &, Location, int64_t binding, ValueRange indices, Type type)>
      tableLoad;
};

/// Copies the ops of `block` before `builder`'s insertion point with its
/// arguments replaced by `args`, and returns the terminator's operands. An
/// argument is a scalar or a vector of lanes; an op whose operands are all
/// scalars stays scalar, so whatever does not differ by lane is computed once.
SmallVector<Value> inlineScalarRegion(OpBuilder &builder, Block &block, ValueRange args,
                                      const ScalarContext &context);

/// The same in two steps: what does not depend on some of the arguments is
/// emitted once, outside of the loop over these.
class ScalarRegionInliner {
public:
  ScalarRegionInliner(Block &block, const ScalarContext &context)
      : block(&block), context(context) {}

  /// Emits what depends on no null value among `args`.
  void hoist(OpBuilder &builder, ArrayRef<Value> args);
  /// Emits the rest, for the arguments that were null, and returns the results.
  SmallVector<Value> finish(OpBuilder &builder, ArrayRef<Value> args);

  /// Uses `known` for a value of the region.
  void set(Value value, Value known) { map.map(value, known); }
  /// Emits some ops of the region, in their order, whose operands are known by then.
  void emit(OpBuilder &builder, const llvm::SetVector<Operation *> &ops);
  /// What a value of the region has become; null if it is not known yet.
  Value lookup(OpBuilder &builder, Value value);

private:
  void emit(OpBuilder &builder, Operation &op, ArrayRef<Value> operands);

  Block *block;
  ScalarContext context;
  IRMapping map;
};

} // namespace mlir::attn
