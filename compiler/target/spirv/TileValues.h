// What tiles become in one invocation: registers for what it owns, recipes for
// what lies in buffers or workgroup memory.
#pragma once

#include "mlir/IR/Builders.h"

#include <functional>

namespace mlir::attn {

/// A tile of rank 1 over query rows: one number for each row whose softmax this
/// invocation runs.
struct RowTile {
  SmallVector<Value> values;
};

/// A tile of queries: pieces of the rows of this invocation's register tile.
struct QueryTile {
  int64_t width = 1; ///< elements of a piece
  /// Piece of row `row` (of the register tile) at `dim`, as f32 numbers.
  std::function<Value(OpBuilder &, int64_t row, Value dim, int64_t width)> piece;
  /// The same, of a row whose softmax this invocation runs.
  std::function<Value(OpBuilder &, int64_t ownRow, Value dim, int64_t width)> ownPiece;
  /// int8: the words of a piece, four numbers to a word.
  std::function<SmallVector<Value>(OpBuilder &, int64_t row, Value dim, int64_t width)> words;
};

/// Gives pieces of one key's row as f32 numbers.
using PieceLoader = std::function<Value(OpBuilder &, Value dim, int64_t width)>;
/// Gives the words of pieces of one key's row of int8 numbers.
using WordLoader = std::function<SmallVector<Value>(OpBuilder &, Value dim, int64_t width)>;

/// A tile over keys. `open` does what is common to the pieces of the key in
/// `slot`.
struct SpirvKeyTile {
  int64_t width = 1; ///< least elements of a piece
  std::function<PieceLoader(OpBuilder &, Value slot)> open;
  std::function<WordLoader(OpBuilder &, Value slot)> openWords; ///< int8 from a buffer
};

/// One key of a step in the softmax phase, i32.
struct Key {
  Value index;    ///< within the step
  Value slot;     ///< where its scale is read
  Value position; ///< what masks and scores see
};

/// A tile of scores before softmax, read element by element.
struct ScoreTile {
  /// The score of an own row and a key; `full` leaves masks out.
  std::function<Value(OpBuilder &, int64_t ownRow, const Key &, bool full)> at;
  /// Where the mask leaves everything, workgroup memory holds these very scores.
  bool asStored = false;
  bool masked = false; ///< has a mask, and may hold the sentinel
};

/// An output tile: rows x units pieces of this invocation's register tile.
struct OutputTile {
  SmallVector<Value> pieces;
};

} // namespace mlir::attn
