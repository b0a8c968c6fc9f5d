// What tiles become in one invocation: values in registers for rows, recipes for
// keys and scores, which are evaluated one key at a time.
#pragma once

#include "mlir/IR/Builders.h"

#include <functional>

namespace mlir::attn {

/// A tile over query rows: this invocation's rows, each as pieces of up to four
/// f32 numbers; one scalar piece for a tile of rank 1.
///
///   tile<BQxD>  rows[0] = { v4 v4 v4 ... }      tile<BQ>  rows[0] = { f32 }
///               rows[1] = { v4 v4 v4 ... }                rows[1] = { f32 }
struct RowTile {
  SmallVector<SmallVector<Value>> rows;
};

/// One key of the step being computed, all i32 and uniform.
struct Key {
  Value slot;     ///< where it is read; the last valid key's past the end
  Value position; ///< what masks and scores see
  Value valid;    ///< i1: not past the end
  Value full;     ///< i1: of a block in which every pair is admitted
};

/// Gives pieces of one key's row as f32 numbers.
using PieceLoader = std::function<Value(OpBuilder &, int64_t dim, int64_t width)>;

/// A tile over keys. `open` does what is common to a key's pieces.
struct KeyTile {
  std::function<PieceLoader(OpBuilder &, const Key &)> open;
};

/// A tile of scores, before softmax: one number per row for a key.
struct ScoreTile {
  std::function<SmallVector<Value>(OpBuilder &, const Key &)> at;
  bool masked = false; ///< may hold the sentinel
};

/// A tile of probabilities: per row, one number per key of the step.
struct ProbabilityTile {
  SmallVector<SmallVector<Value>> rows;
};

} // namespace mlir::attn
