// Emits `<symbol>_ranges` (attn_cpu_ranges_fn): the KV ranges of a query tile,
// from the walk that the kernel itself makes.
#pragma once

#include "compiler/target/cpu/CallFrame.h"

namespace mlir::attn {

/// Emits nothing for a kernel whose classification reads a table: the function
/// is not given the buffers.
void emitRangesFunction(OpBuilder &builder, tile::KernelOp kernel, const CpuArch &arch,
                        StringRef symbol);

} // namespace mlir::attn
