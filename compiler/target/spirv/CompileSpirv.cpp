// The spirv target: tile kernels enter, SPIR-V binaries with their bundle
// records leave, one image per kernel.
#include "compiler/target/KernelRecord.h"
#include "compiler/target/Target.h"
#include "compiler/target/spirv/GpuToSpirv.h"
#include "compiler/target/spirv/SpirvSchedule.h"
#include "compiler/target/spirv/TileToGpu.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace mlir::attn;

static std::string print(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  return text;
}

FailureOr<TargetOutput> mlir::attn::compileSpirv(ModuleOp module, StringRef arch, Stage stopAfter) {
  module.getContext()
      ->loadDialect<gpu::GPUDialect, scf::SCFDialect, memref::MemRefDialect, vector::VectorDialect,
                    spirv::SPIRVDialect>();
  TargetOutput output;
  for (auto kernel : module.getOps<tile::KernelOp>()) {
    FailureOr<SpirvSchedule> schedule = chooseSchedule(kernel, arch);
    if (failed(schedule))
      return failure();
    ::attn::KernelInfo info = makeKernelRecord(kernel, ::attn::TargetKind::spirv, arch);
    info.workgroup[0] = schedule->workgroup;
    info.features = requiredFeatures(kernel, schedule->tier);
    // Among the tiers that a device takes, the one that uses most of it.
    info.priority = schedule->tier.broadcast ? 2 : schedule->tier.narrowStorage ? 1 : 0;
    info.image = output.kernels.size();
    output.kernels.push_back(std::move(info));
  }
  if (failed(lowerTileToGpu(module, arch)))
    return failure();
  if (stopAfter == Stage::schedule) {
    output.text = print(module);
    return output;
  }
  if (failed(lowerGpuToSpirv(module)))
    return failure();
  if (stopAfter == Stage::spirv) {
    output.text = print(module);
    return output;
  }
  for (auto spirvModule : module.getOps<spirv::ModuleOp>()) {
    FailureOr<std::string> image = serializeSpirv(spirvModule);
    if (failed(image))
      return failure();
    output.images.push_back(std::move(*image));
  }
  return output;
}
