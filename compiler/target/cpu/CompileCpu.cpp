// The cpu target's pass list: tile -> vectors -> LLVM -> object -> shared object.
#include "compiler/target/KernelRecord.h"
#include "compiler/target/Target.h"
#include "compiler/target/cpu/EmitObject.h"
#include "compiler/target/cpu/LinkImage.h"
#include "compiler/target/cpu/TileToVector.h"
#include "compiler/target/cpu/VectorToLlvm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace mlir::attn;

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module;
  return text;
}

// Among the entries that a machine can run, the one with the most features wins.
static uint32_t priorityOf(const CpuArch &arch) {
  return 10 * (1 + arch.scalef + arch.bf16Dot + arch.int8Dot);
}

// Symbols that are unique in a program: "<prefix>_<kernel>_<arch>".
static void rename(llvm::Module &module, ::attn::KernelInfo &info, StringRef prefix) {
  std::string symbol = (prefix + "_" + info.symbol + "_" + info.arch).str();
  std::replace(symbol.begin(), symbol.end(), '-', '_');
  for (const char *suffix : {"", "_ranges", "_decode_plan", "_decode_walk", "_decode_finish"})
    if (llvm::Function *function = module.getFunction(info.symbol + suffix))
      function->setName(symbol + suffix);
  info.symbol = symbol;
}

FailureOr<TargetOutput> mlir::attn::compileCpu(ModuleOp module, StringRef archName,
                                               Stage stopAfter, StringRef objectPrefix,
                                               bool quick) {
  const CpuArch *arch = findCpuArch(archName);
  if (!arch)
    return module.emitError("unknown cpu architecture '")
           << archName << "'; there are " << cpuArchNames();
  module.getContext()
      ->loadDialect<arith::ArithDialect, cf::ControlFlowDialect, func::FuncDialect,
                    LLVM::LLVMDialect, math::MathDialect, scf::SCFDialect, ub::UBDialect,
                    vector::VectorDialect>();
  TargetOutput output;
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    ::attn::KernelInfo info = makeKernelRecord(kernel, ::attn::TargetKind::cpu, archName);
    info.symbol = kernelSymbol(kernel);
    info.features = arch->needs;
    info.priority = priorityOf(*arch);
    output.kernels.push_back(std::move(info));
  }
  if (failed(lowerTileToVector(module, *arch)))
    return failure();
  for (::attn::KernelInfo &info : output.kernels) {
    auto func = module.lookupSymbol<func::FuncOp>(info.symbol);
    info.arena_bytes = cast<IntegerAttr>(func->getAttr(kArenaBytesAttr)).getInt();
    func->removeAttr(kArenaBytesAttr);
  }
  if (stopAfter == Stage::schedule) {
    output.text = print(module);
    return output;
  }
  if (failed(lowerVectorToLlvm(module)))
    return failure();
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> llvmModule = translateToLlvm(module, *arch, context);
  if (!llvmModule)
    return module.emitError("cannot be translated to LLVM IR");
  if (stopAfter == Stage::llvm) {
    llvm::raw_string_ostream(output.text) << *llvmModule;
    return output;
  }
  if (!objectPrefix.empty())
    for (::attn::KernelInfo &info : output.kernels)
      rename(*llvmModule, info, objectPrefix);
  FailureOr<std::string> object = emitObject(*llvmModule, *arch, module.getLoc(), quick);
  if (failed(object))
    return failure();
  FailureOr<std::string> image = linkImage(*object, module.getLoc());
  if (failed(image))
    return failure();
  // A program's object has passed the same gate: it links by itself.
  output.images.push_back(std::move(objectPrefix.empty() ? *image : *object));
  return output;
}
