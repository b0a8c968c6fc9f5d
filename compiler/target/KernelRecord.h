// Fills the part of a kernel's bundle record that every target shares.
#pragma once

#include "dialects/tile/TileDialect.h"
#include "runtime/bundle/kernel_info.h"

namespace mlir::attn {

/// Name, variant, dims, blocks, bindings and params of `kernel`. The symbol
/// `spec.variant` of the op becomes `spec_variant` in machine code.
::attn::KernelInfo makeKernelRecord(tile::KernelOp kernel, ::attn::TargetKind target,
                                    StringRef arch);

/// The binding type of an MLIR element type.
::attn::ElementType elementTypeOf(Type type);

} // namespace mlir::attn
