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

/// What scalar ops of an attention name besides their operands: where its tables
/// lie among a kernel's bindings, and the value of each input that a region reads.
struct KernelTables {
  AttentionOp attention;
  int64_t firstTable = 0;
  DenseMap<int64_t, Value> inputs{};
};

/// Copies the ops of `source` to `builder`'s insertion point with its arguments
/// replaced, lowered, and returns what its terminator yields. Patterns must have
/// been expanded.
FailureOr<SmallVector<Value>> lowerScalars(OpBuilder &builder, Block &source,
                                           ArrayRef<LoweredValue> arguments,
                                           const KernelTables &tables);

} // namespace mlir::attn
