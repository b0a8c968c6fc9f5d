// LLVM's own optimizer and code generator, in process.
#include "compiler/target/cpu/EmitObject.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <mutex>

using namespace mlir;
using namespace mlir::attn;

// The code is vectorized, unrolled and in registers already, so what remains is
// cleaning and hoisting. The stock O3 list takes five times as long and spills more;
// instcombine makes the code generator slower by a third and the kernels no faster.
static constexpr const char *kPipeline =
    "function(early-cse<memssa>,loop-mssa(licm<allowspeculation>),adce,simplifycfg)";

static constexpr const char *kQuickPipeline = "function(early-cse<memssa>,adce)";

static std::unique_ptr<llvm::TargetMachine> makeTargetMachine(const CpuArch &arch, bool quick,
                                                              std::string &error) {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
  llvm::Triple triple(arch.triple);
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions options;
  return std::unique_ptr<llvm::TargetMachine>(
      target->createTargetMachine(triple, arch.cpu, arch.features, options, llvm::Reloc::PIC_,
                                  std::nullopt,
                                  quick ? llvm::CodeGenOptLevel::None
                                        : llvm::CodeGenOptLevel::Aggressive));
}

void mlir::attn::registerLlvmTranslation(MLIRContext &context) {
  DialectRegistry registry;
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  context.appendDialectRegistry(registry);
}

std::unique_ptr<llvm::Module> mlir::attn::translateToLlvm(ModuleOp module, const CpuArch &arch,
                                                          llvm::LLVMContext &context) {
  std::unique_ptr<llvm::Module> result = translateModuleToLLVMIR(module, context, "attn");
  if (!result)
    return nullptr;
  for (llvm::Function &function : *result) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", arch.cpu);
    if (!arch.features.empty())
      function.addFnAttr("target-features", arch.features);
    // Loops that clear or copy must not become calls: a kernel links to nothing.
    function.addFnAttr("no-builtins");
    function.addFnAttr("prefer-vector-width", std::to_string(arch.width * 32));
    function.addFnAttr(llvm::Attribute::NoUnwind);
  }
  return result;
}

FailureOr<std::string> mlir::attn::emitObject(llvm::Module &module, const CpuArch &arch,
                                              Location loc, bool quick) {
  std::string error;
  std::unique_ptr<llvm::TargetMachine> machine = makeTargetMachine(arch, quick, error);
  if (!machine)
    return emitError(loc, "no code generator for ") << arch.triple << ": " << error;
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());

  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager graphs;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(machine.get());
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(graphs);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, graphs, modules);
  llvm::ModulePassManager passes;
  if (llvm::Error error = builder.parsePassPipeline(passes, quick ? kQuickPipeline : kPipeline))
    return emitError(loc, "LLVM does not know the pass list: ") << llvm::toString(std::move(error));
  passes.run(module, modules);

  llvm::SmallString<0> object;
  llvm::raw_svector_ostream stream(object);
  llvm::legacy::PassManager codegen;
  if (machine->addPassesToEmitFile(codegen, stream, nullptr, llvm::CodeGenFileType::ObjectFile))
    return emitError(loc, "the code generator for ") << arch.triple << " cannot write objects";
  codegen.run(module);
  return object.str().str();
}
