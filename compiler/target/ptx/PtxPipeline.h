// Turns tile kernels into PTX text and, where ptxas is found, a cubin.
#pragma once

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

#include <optional>
#include <string>

namespace mlir::attn {

/// tile.kernel -> llvm.func {nvvm.kernel} over scf, arith, math, llvm and nvvm.
std::unique_ptr<Pass> createConvertTileToNVVMPass(StringRef arch = "sm_80");
/// Makes the pass known to attn-opt as --convert-tile-to-nvvm.
void registerPtxPasses();

/// Replaces functions of f32 by polynomials: there is no device library to call. A tanh,
/// exp, log or division that may be approximate (afn) becomes a few instructions; tanh and
/// log are right to 2^-21, exp to 2^-22 (1 + |x|) of its value, quotients to 2^-22 for
/// divisors from 2^-126 to 2^126, below and above which they are infinite and zero.
std::unique_ptr<Pass> createExpandMathPass();

/// Lowers everything to the llvm dialect.
LogicalResult lowerToLLVM(ModuleOp module);

/// LLVM IR of `module`, optimised, as PTX for `arch` (or as IR text).
FailureOr<std::string> emitPtx(ModuleOp module, StringRef arch, bool stopAtLLVM);

/// What ptxas made of a PTX text.
struct AssembledKernels {
  std::string cubin;
  std::string log;       ///< its verbose output
  std::string complaint; ///< spilled registers or C75xx (copies or products that
                         ///< were told to overlap do not); empty if neither
};

/// The path of ptxas: from PATH, else /usr/local/cuda/bin; none if absent.
std::optional<std::string> findPtxas();

/// Assembles; fails with a diagnostic at `loc` if ptxas rejects the text.
FailureOr<AssembledKernels> assemble(StringRef ptxas, StringRef ptx, StringRef arch, Location loc);

} // namespace mlir::attn
