// Lowers the scalar ops of attn regions to arith, math and the tile dialect's
// scalar ops, choosing cheap unsigned division wherever ranges allow it.
#pragma once

#include "dialects/attn/AttnDialect.h"
#include "dialects/tile/TileDialect.h"

namespace mlir::attn {

/// A value to use in place of a block argument, and the range it lies in.
struct LoweredValue {
  Value value;
  IntRange range;
};

/// Where the tables of an attention lie among a kernel's bindings.
struct KernelTables {
  AttentionOp attention;
  int64_t firstTable = 0;
};

/// Copies the ops of `source` to `builder`'s insertion point with its arguments
/// replaced, lowered, and returns what its terminator yields. Patterns must have
/// been expanded.
FailureOr<SmallVector<Value>> lowerScalars(OpBuilder &builder, Block &source,
                                           ArrayRef<LoweredValue> arguments,
                                           const KernelTables &tables);

} // namespace mlir::attn
