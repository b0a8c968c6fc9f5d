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
#include "mlir/IR/Threading.h"
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

// What a kernel may consist of: the form for whole tiles with its ranges, and that for few rows.
static constexpr const char *kTileForm[] = {"", "_ranges"};
static constexpr const char *kDecodeForm[] = {"_decode_plan", "_decode_walk", "_decode_finish"};

// Symbols that are unique in a program: "<prefix>_<kernel>_<arch>".
static void rename(ModuleOp module, ::attn::KernelInfo &info, StringRef prefix) {
  std::string symbol = (prefix + "_" + info.symbol + "_" + info.arch).str();
  std::replace(symbol.begin(), symbol.end(), '-', '_');
  for (ArrayRef<const char *> form : {ArrayRef(kTileForm), ArrayRef(kDecodeForm)})
    for (const char *suffix : form)
      if (auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(info.symbol + suffix))
        function.setSymName(symbol + suffix);
  info.symbol = symbol;
}

// The forms of all kernels as modules of their own. They share nothing, so they can be compiled
// beside each other, and the parts are the same however many threads do it.
static SmallVector<OwningOpRef<ModuleOp>> splitForms(ModuleOp module,
                                                     ArrayRef<::attn::KernelInfo> kernels) {
  SmallVector<OwningOpRef<ModuleOp>> parts;
  for (const ::attn::KernelInfo &info : kernels)
    for (ArrayRef<const char *> form : {ArrayRef(kTileForm), ArrayRef(kDecodeForm)}) {
      OwningOpRef<ModuleOp> part = ModuleOp::create(module.getLoc());
      for (const char *suffix : form)
        if (auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(info.symbol + suffix))
          function->moveBefore(part->getBody(), part->getBody()->end());
      if (!part->getBody()->empty())
        parts.push_back(std::move(part));
    }
  return parts;
}

// Objects of all parts, in their order.
static FailureOr<std::vector<std::string>> emitObjects(ModuleOp module, const CpuArch &arch,
                                                       ArrayRef<::attn::KernelInfo> kernels,
                                                       bool quick) {
  SmallVector<OwningOpRef<ModuleOp>> parts = splitForms(module, kernels);
  std::vector<std::string> objects(parts.size());
  auto emit = [&](size_t index) -> LogicalResult {
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> part = translateToLlvm(*parts[index], arch, context);
    if (!part)
      return module.emitError("cannot be translated to LLVM IR");
    FailureOr<std::string> object = emitObject(*part, arch, module.getLoc(), quick);
    if (succeeded(object))
      objects[index] = std::move(*object);
    return object;
  };
  if (failed(failableParallelForEachN(module.getContext(), 0, parts.size(), emit)))
    return failure();
  return objects;
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
  registerLlvmTranslation(*module.getContext());
  if (stopAfter == Stage::llvm) {
    llvm::LLVMContext context;
    std::unique_ptr<llvm::Module> llvmModule = translateToLlvm(module, *arch, context);
    if (!llvmModule)
      return module.emitError("cannot be translated to LLVM IR");
    llvm::raw_string_ostream(output.text) << *llvmModule;
    return output;
  }
  if (!objectPrefix.empty())
    for (::attn::KernelInfo &info : output.kernels)
      rename(module, info, objectPrefix);
  FailureOr<std::vector<std::string>> objects = emitObjects(module, *arch, output.kernels, quick);
  if (failed(objects))
    return failure();
  FailureOr<std::string> image = linkImage(*objects, module.getLoc());
  if (failed(image))
    return failure();
  if (!objectPrefix.empty()) // a program's object passes the same gate: it links by itself
    image = joinObjects(*objects, module.getLoc());
  if (failed(image))
    return failure();
  output.images.push_back(std::move(*image));
  return output;
}
