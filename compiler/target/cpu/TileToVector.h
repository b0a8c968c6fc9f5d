// tile.kernel -> func.func over scf, arith, math, vector and llvm memory ops.
#pragma once

#include "compiler/target/cpu/CpuArch.h"
#include "dialects/tile/TileDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace mlir::attn {

/// Replaces every tile.kernel of `module` by a function with the C ABI of
/// attn_cpu_kernel_fn and its ranges function. The scratch a kernel needs is
/// its function's attribute `attn.arena_bytes`.
LogicalResult lowerTileToVector(ModuleOp module, const CpuArch &arch);

inline constexpr StringLiteral kArenaBytesAttr = "attn.arena_bytes";

/// The name of a kernel's function: "spec.variant" becomes "spec_variant".
std::string kernelSymbol(tile::KernelOp kernel);

/// `attn-tile-to-vector{arch=avx512}` for attn-opt.
void registerCpuPasses();

} // namespace mlir::attn
