// The scalar ops beside a kernel's tiles: factors, parameters, reads of tables.
#pragma once

#include "compiler/target/cpu/CallFrame.h"

#include "mlir/IR/IRMapping.h"

namespace mlir::attn {

/// Whether `op`, at the top of a kernel, deals in scalars only.
bool isTopScalar(Operation &op);
/// Emits such an op for the frame's current item and maps its results.
void lowerTopScalar(LaneBuilder &b, Operation &op, CallFrame &frame, IRMapping &scalars);

} // namespace mlir::attn
