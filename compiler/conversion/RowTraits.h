// What a mask reads of a query row, and whether rows that lie apart in memory attend
// more alike than neighbours do.
#pragma once

#include "dialects/attn/AttnDialect.h"

namespace mlir::attn {

/// The values of a mask that depend on the query row and not on the key, as far as the
/// rest needs them. Where windows are clamped at an edge, so are they, and rows that
/// attend the same keys have the same traits:
///
///   neighborhood(y: 15) of 24:  0 <= k.y - clamp(q.y - 7, 0, 9) < 15
///                                          `-- trait ----'
struct RowTraits {
  SmallVector<Value> values;    ///< i32, or i1
  SmallVector<IntRange> ranges; ///< of each
  /// Indices into `values`, from the slowest along the rows to the fastest; none where
  /// runs of rows are as good as any other sets of them.
  SmallVector<int64_t> axes;
  int64_t tileRows = 0; ///< of a tile that has neighbours enough along the last two axes
};

/// Rows that a tile may have for them to be sorted: a row's number is part of its key.
inline constexpr int64_t kMaxSortedRows = 1024;

/// The traits that `mask`, of `attention` or a recache of it, has for tiles of a small
/// multiple of `blockQ` consecutive rows. Patterns must have been expanded.
RowTraits findRowTraits(Block &mask, AttentionOp attention, int64_t blockQ);

} // namespace mlir::attn
