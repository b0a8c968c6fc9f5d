// LLVM dialect -> a relocatable ELF object for one architecture.
#pragma once

#include "compiler/target/cpu/CpuArch.h"

#include "mlir/IR/BuiltinOps.h"

#include <memory>
#include <string>

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace mlir::attn {

/// Lets `context` translate to LLVM IR; once, before any thread does.
void registerLlvmTranslation(MLIRContext &context);

/// Translates `module` to LLVM IR whose functions carry `arch`'s features.
std::unique_ptr<llvm::Module> translateToLlvm(ModuleOp module, const CpuArch &arch,
                                              llvm::LLVMContext &context);

/// Optimizes (not if `quick`) and compiles; errors are reported at `loc`.
FailureOr<std::string> emitObject(llvm::Module &module, const CpuArch &arch, Location loc,
                                  bool quick = false);

} // namespace mlir::attn
