// Where runs of positions are cut so that each piece is a box of the coordinates
// that a mask reads.
#pragma once

#include "dialects/attn/AttnDialect.h"

namespace mlir::attn {

/// The places at which one side's positions may be cut, as values at `builder`'s
/// insertion point.
///
/// A run of positions of a grid (t, y, x) that is not a box is at most 2 * rank - 1
/// of them, one after another:
///
///       x -->              [rest of a row] [rows of the frame] [frames] [rows] [row]
///   y   . . # # #
///   |   # # # # #          Each level, a row or a frame, is a `period` of
///   v   # # # . .          positions counted from `base`.
///
/// `borders` are single positions where the mask changes: where a space begins.
/// Packed documents begin where a sorted table of the tokens' own documents says;
/// a run is cut where its last two begin.
class Cuts {
public:
  /// What the scalar region `mask` calls for on `side`.
  Cuts(Block &mask, Side side, AttentionOp attention);

  bool empty() const { return levels.empty() && borders.empty() && !documents; }
  /// Emits ascending cuts of [low, high]: pieces are low .. cut 0 - 1, cut 0 ..
  /// cut 1 - 1, ..., last cut .. high; some may be empty.
  SmallVector<Value> emit(OpBuilder &builder, Location loc, Value low, Value high) const;

private:
  struct Level {
    Value base;                   // null: 0
    Value divisor, modulus;       // period = divisor * modulus; each null: 1
    int64_t factor = 1;           // times this
    IntRange period = {};
  };
  struct Border {
    Value position;
    int64_t offset = 0;            // added to it
    Value divisor = {}, base = {}; // then times the one and plus the other, unless null
  };
  void addLevel(Level level);
  void addBorder(Border border);
  IntRange rangeOf(Value value) const;

  AttentionOp attention;
  SmallVector<Level> levels; // from the shortest period
  SmallVector<Border> borders;
  TableLoadOp documents; // where the document of a position begins; null: not packed
};

} // namespace mlir::attn
