// Checks that the verifiers of both phases of the tile dialect share. Each
// reports an error at `op` and fails.
#pragma once

#include "dialects/tile/TileDialect.h"

namespace mlir::tile {

/// The value is a tile of this shape and element type.
LogicalResult expectTile(Operation *op, StringRef what, Value value, ArrayRef<int64_t> shape,
                         Type elementType);

/// The value is a tile of this rank.
LogicalResult expectRank(Operation *op, StringRef what, Value value, size_t rank);

/// The region's block has these arguments, and ends by yielding `results`.
LogicalResult expectRegion(Operation *op, StringRef name, Region &region, ArrayRef<Type> arguments,
                           ArrayRef<Type> results);

/// Scalar regions are inlined op by op, so they hold no control flow and no tiles.
LogicalResult expectScalarOps(StringRef name, Region &region);

/// The binding `index` of the kernel around `op`; null with an error if there is none.
BindingAttr bindingOf(Operation *op, KernelOp kernel, int64_t index);

LogicalResult wrongRole(Operation *op, BindingAttr binding, StringRef allowed);

} // namespace mlir::tile
