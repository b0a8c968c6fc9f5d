// What of a scalar region stays the same over runs of key positions: a frame's number
// changes once in a frame, and so does all that is computed from it.
#pragma once

#include "compiler/conversion/ScalarRegion.h"

namespace mlir::attn {

/// The values of a region that the key's position reaches only through quotients
/// (k - base) / divisor. They hold from a position up to the next multiple of a divisor:
///
///   frame = k / 1024;  d = |q_frame - frame|;  reach = f(d);  near = |q_place - k % 1024| <= reach
///   `--------------- run values: reach is kept ------------'  `---- for every key -------------'
class RunValues {
public:
  /// `key` and `query` are arguments of `block`.
  RunValues(Block &block, Value key, Value query);

  bool empty() const { return kept.empty(); }
  /// Those that the rest of the region needs.
  ArrayRef<Value> values() const { return kept.getArrayRef(); }
  /// The same values for the i32 `position`, preceded by the position, an unsigned i32,
  /// from which on they differ. `region` knows what does not depend on the key.
  SmallVector<Value> emit(OpBuilder &builder, Location loc, ScalarRegionInliner region,
                          Value position) const;

private:
  enum class Kind {
    uniform, // the same for all lanes and keys
    query,   // depends on the query
    place,   // key position plus a uniform value
    run,
    fine // anything else
  };
  Kind kindOf(Operation &op, const DenseMap<Value, Kind> &kinds) const;

  Value key;
  llvm::SetVector<Operation *> ops, quotients;
  llvm::SetVector<Value> kept;
};

} // namespace mlir::attn
