// Declares the passes from attn to tile, and the same steps as functions.
#pragma once

#include "dialects/attn/AttnDialect.h"
#include "dialects/tile/TileDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <string>

namespace mlir::attn {

#define GEN_PASS_DECL
#include "compiler/conversion/Passes.h.inc"
#define GEN_PASS_REGISTRATION
#include "compiler/conversion/Passes.h.inc"

/// What a tile kernel of an attention is specialised for.
struct TileOptions {
  int64_t blockQ = 48, blockK = 96;
  std::string variant = "f32";   ///< f32, bf16, f16 or int8
  std::string floatType = "f32"; ///< q and o of int8; empty: the spec's
  bool sortRows = false;         ///< whether the target takes tile.sort_rows
};

/// Replaces the named patterns below `op` by scalar predicates.
void expandPatterns(Operation *op);

/// Creates the tile kernel of `attention` at `builder`'s insertion point. With
/// `recache`, of that recache: its mask instead of the attention's. Leaves both
/// unchanged. What a kernel cannot do is an error at the op's location.
FailureOr<tile::KernelOp> lowerToTile(AttentionOp attention, RecacheOp recache, OpBuilder &builder,
                                      const TileOptions &options);

/// Creates the tile kernel that merges parts of `attention`.
FailureOr<tile::KernelOp> lowerMergeToTile(AttentionOp attention, MergeOp merge, OpBuilder &builder,
                                           const TileOptions &options);

} // namespace mlir::attn
