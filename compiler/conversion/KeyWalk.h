// Builds the loop nest of tile.for_keys from scalar arithmetic, the same for
// every target: segments, blocks, classification, full and partial bodies.
#pragma once

#include "compiler/conversion/ScalarRegion.h"
#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// A block of keys, all i32.
struct KeyBlock {
  Value slot;     ///< slot of the first key
  Value position; ///< position of the first key
  Value count;    ///< number of keys; block_k in the full body
  Value segment;  ///< index of the segment
  Value begin;    ///< index of the first key within the segment
};

/// The work item whose keys are walked, all i32.
struct WalkItem {
  Value qLow, qHigh; ///< positions of its first and last valid query row
  Value head, batch;
  /// An item of several heads: one past its last. A block is empty for it if it is so
  /// for every head, full if it is full for every head. Null: there is only `head`.
  Value headEnd = {};
  /// Where the item takes only some of its call's keys, counted through the segments
  /// in order: its first, and one past its last. Null: all of them.
  Value keyBegin = {}, keyEnd = {};
};

struct KeyWalkHooks {
  /// Word `index` of the call's words (kernel_abi.h) as i32; index is an i32 value.
  std::function<Value(OpBuilder &, Location, Value index)> loadWord;
  /// Emits one body. `state` are the loop-carried values; returns the new ones.
  std::function<SmallVector<Value>(OpBuilder &, Location, bool full, const KeyBlock &,
                                   ValueRange state)>
      body;
  /// For targets where code is dear: emits the one body of full and partial
  /// blocks alike, with `full` as an i1 value. Replaces `body` where it is set.
  std::function<SmallVector<Value>(OpBuilder &, Location, Value full, const KeyBlock &,
                                   ValueRange state)>
      sharedBody;
  /// For targets that keep their tiles in registers: nothing is kept beside them
  /// that could be computed again, and ranges are not cut.
  bool registersAreDear = false;
  /// For targets with vectors of integers: all blocks of a run are asked about at once.
  bool blocksAtOnce = false;
};

/// What says which blocks a walk visits.
struct KeyClasses {
  KeyClasses(tile::ForKeysOp op)
      : classify(op.getClassify().front()),
        queryCuts(op.getQueryCuts() ? &op.getQueryCuts()->front() : nullptr),
        keyCuts(op.getKeyCuts() ? &op.getKeyCuts()->front() : nullptr) {}
  KeyClasses(tile::ProduceKeysOp op) : classify(op.getClassify().front()) {}

  Block &classify;
  Block *queryCuts = nullptr, *keyCuts = nullptr; ///< null where ranges are not cut
};

/// Emits the walk at `builder`'s insertion point and returns the final state.
/// `state` are the values carried from block to block (any types; none where a
/// target keeps its tiles in memory). Emits scf.for and scf.if over arith on
/// scalars, uniform across the work item. Runs of `skipBlocks` blocks are asked
/// about together first, so that the cost of a walk follows what is admitted.
SmallVector<Value> buildKeyWalk(OpBuilder &builder, Location loc, const KeyClasses &classes,
                                const WalkItem &item, int64_t blockK, int64_t skipBlocks,
                                ValueRange state, const ScalarContext &context,
                                const KeyWalkHooks &hooks);

} // namespace mlir::attn
