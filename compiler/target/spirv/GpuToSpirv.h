// Converts gpu modules to SPIR-V: gpu.module enters, a binary per module leaves.
#pragma once

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace mlir::spirv {
class ModuleOp;
}

namespace mlir::attn {

/// Simplifies the gpu modules of `module`, converts each to a spirv.module and
/// fixes the versions and capabilities it states.
LogicalResult lowerGpuToSpirv(ModuleOp module);

/// The binary of a module that lowerGpuToSpirv made.
FailureOr<std::string> serializeSpirv(spirv::ModuleOp module);

/// Registers convert-tile-to-gpu and convert-attn-gpu-to-spirv.
void registerSpirvPasses();

} // namespace mlir::attn
