// Lowers tile kernels to gpu.func over scf, arith, math, vector and 1-D memref:
// a module of tile.kernel enters, a module of gpu.module leaves.
#pragma once

#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {

/// Replaces every tile.kernel of `module` by a gpu.module with one kernel
/// function for `arch`. Errors are reported on the ops.
LogicalResult lowerTileToGpu(ModuleOp module, StringRef arch);

} // namespace mlir::attn
