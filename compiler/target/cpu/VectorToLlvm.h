// func/scf/arith/math/vector -> the LLVM dialect, without calls into libm.
#pragma once

#include "mlir/IR/BuiltinOps.h"

namespace mlir::attn {
LogicalResult lowerVectorToLlvm(ModuleOp module);
} // namespace mlir::attn
