// The ptx target: a module of tile kernels in, records and images out.
#include "compiler/target/KernelRecord.h"
#include "compiler/target/Target.h"
#include "compiler/target/ptx/HopperLowering.h"
#include "compiler/target/ptx/HopperSchedule.h"
#include "compiler/target/ptx/KernelLowering.h"
#include "compiler/target/ptx/PtxPipeline.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

struct ConvertTileToNVVM : PassWrapper<ConvertTileToNVVM, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertTileToNVVM)

  ConvertTileToNVVM() = default;
  explicit ConvertTileToNVVM(StringRef arch) { this->arch = arch.str(); }
  ConvertTileToNVVM(const ConvertTileToNVVM &other) : PassWrapper(other) { arch = other.arch; }

  StringRef getArgument() const override { return "convert-tile-to-nvvm"; }
  StringRef getDescription() const override {
    return "Lower tile kernels to nvvm kernel functions (mma.sync, cp.async)";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<LLVM::LLVMDialect, NVVM::NVVMDialect, arith::ArithDialect, math::MathDialect,
                    scf::SCFDialect>();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<tile::KernelOp> kernels(module.getOps<tile::KernelOp>());
    if (kernels.empty())
      return;
    OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
    // Dynamic shared memory: its size is in the kernel's record.
    auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
    auto shared = LLVM::GlobalOp::create(builder, module.getLoc(), type, /*isConstant=*/false,
                                         LLVM::Linkage::External, "attn_shared", Attribute(),
                                         /*alignment=*/1024, /*addrSpace=*/3);
    for (tile::KernelOp kernel : kernels) {
      std::string symbol = makeKernelRecord(kernel, ::attn::TargetKind::ptx, arch).symbol;
      if (rolesOf(kernel)) {
        HopperLayout layout = HopperLayout::of(kernel);
        if (failed(HopperLowering(kernel, layout).lower(symbol, shared)))
          return signalPassFailure();
        kernel.erase();
        continue;
      }
      FailureOr<PtxSchedule> schedule = choosePtxSchedule(kernel, sharedMemoryLimit(arch));
      if (failed(schedule))
        return signalPassFailure();
      if (failed(PtxLowering(kernel, *schedule).lower(symbol, shared)))
        return signalPassFailure();
      kernel.erase();
    }
  }

  Option<std::string> arch{*this, "arch", llvm::cl::desc("sm_80 or later"),
                           llvm::cl::init("sm_80")};
};

// "sm_86" -> 86; none where the kernels cannot run.
std::optional<uint32_t> computeCapability(StringRef arch) {
  uint32_t value = 0;
  if (!arch.consume_front("sm_") || arch.consumeInteger(10, value) || value < 80 ||
      !(arch.empty() || arch == "a" || arch == "f"))
    return std::nullopt;
  return value;
}

std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream(text) << module;
  return text;
}

LogicalResult run(ModuleOp module, std::unique_ptr<Pass> pass) {
  PassManager passes(module.getContext());
  passes.addPass(std::move(pass));
  return passes.run(module);
}

// The kernel's record but for its image; fails where it cannot be scheduled.
FailureOr<::attn::KernelInfo> describe(tile::KernelOp kernel, StringRef arch) {
  ::attn::KernelInfo info = makeKernelRecord(kernel, ::attn::TargetKind::ptx, arch);
  if (rolesOf(kernel)) {
    HopperLayout layout = HopperLayout::of(kernel);
    info.priority = 2; // before what runs everywhere
    info.workgroup[0] = layout.threads;
    info.shared_bytes = layout.sharedBytes;
    for (const HopperMap &map : layout.maps) {
      info.bindings[map.binding].map_rows = map.boxRows;
      info.bindings[map.binding].map_bytes = map.boxBytes;
    }
    return info;
  }
  FailureOr<PtxSchedule> schedule = choosePtxSchedule(kernel, sharedMemoryLimit(arch));
  if (failed(schedule))
    return failure();
  info.workgroup[0] = schedule->threads();
  info.shared_bytes = schedule->sharedBytes;
  return info;
}

} // namespace

std::unique_ptr<Pass> mlir::attn::createConvertTileToNVVMPass(StringRef arch) {
  return std::make_unique<ConvertTileToNVVM>(arch);
}

void mlir::attn::registerPtxPasses() {
  PassRegistration<ConvertTileToNVVM>();
  registerPass([] { return createTileScheduleHopperPass(); });
  registerPass(createExpandMathPass);
}

LogicalResult mlir::attn::lowerToLLVM(ModuleOp module) {
  DialectRegistry registry;
  arith::registerConvertArithToLLVMInterface(registry);
  cf::registerConvertControlFlowToLLVMInterface(registry);
  registerConvertMathToLLVMInterface(registry);
  registerConvertNVVMToLLVMInterface(registry);
  module.getContext()->appendDialectRegistry(registry);
  PassManager passes(module.getContext());
  passes.enableVerifier(false); // what comes out is verified when it is translated
  passes.addPass(createExpandMathPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertToLLVMPass()); // all dialects in one sweep
  return passes.run(module);
}

FailureOr<TargetOutput> mlir::attn::compilePtx(ModuleOp module, StringRef archAndSchedule,
                                               Stage stopAfter) {
  auto [arch, schedule] = archAndSchedule.split(':');
  std::optional<uint32_t> capability = computeCapability(arch);
  if (!capability)
    return module.emitError("ptx architecture is '")
           << arch << "'; must be sm_80 or later, as in sm_80, sm_90a";
  if (arch == "sm_90a" && failed(run(module, createTileScheduleHopperPass(schedule))))
    return failure();
  if (arch != "sm_90a" && !schedule.empty())
    return module.emitError("ptx architecture ") << arch << " takes no schedule; sm_90a does";
  TargetOutput output;
  Location place = module.getLoc();
  if (auto kernels = module.getOps<tile::KernelOp>(); !kernels.empty())
    place = (*kernels.begin()).getLoc(); // the kernel is gone when ptxas speaks of it
  bool scheduled = llvm::any_of(module.getOps<tile::KernelOp>(), rolesOf);
  if (stopAfter == Stage::schedule && scheduled) {
    output.text = print(module);
    return output;
  }
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    FailureOr<::attn::KernelInfo> info = describe(kernel, arch);
    if (failed(info))
      return failure();
    info->compute_capability = *capability;
    output.kernels.push_back(std::move(*info));
  }
  if (failed(run(module, createConvertTileToNVVMPass(arch))))
    return failure();
  if (stopAfter == Stage::schedule) {
    output.text = print(module);
    return output;
  }
  if (failed(lowerToLLVM(module)))
    return failure();
  FailureOr<std::string> ptx = emitPtx(module, arch, stopAfter == Stage::llvm);
  if (failed(ptx))
    return failure();
  if (stopAfter != Stage::image) {
    output.text = std::move(*ptx);
    return output;
  }
  output.images.push_back(*ptx);
  std::optional<std::string> ptxas = findPtxas();
  if (!ptxas)
    return output;
  FailureOr<AssembledKernels> assembled = assemble(*ptxas, *ptx, arch, module.getLoc());
  if (failed(assembled))
    return failure();
  if (!assembled->complaint.empty())
    emitWarning(place, "ptxas reports '")
        << assembled->complaint
        << "': the kernel is right but slow; smaller head dims, or fewer operations in mask and "
           "score, need fewer registers";
  // The same kernels once more, preferred: nothing is left to the driver's compiler.
  for (size_t i = 0, count = output.kernels.size(); i < count; ++i) {
    ::attn::KernelInfo info = output.kernels[i];
    info.image = output.images.size();
    info.priority += 1;
    output.kernels.push_back(std::move(info));
  }
  output.images.push_back(std::move(assembled->cubin));
  return output;
}
