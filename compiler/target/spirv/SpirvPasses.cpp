// The lowering's two steps as passes, for attn-opt.
#include "compiler/target/spirv/GpuToSpirv.h"
#include "compiler/target/spirv/TileToGpu.h"

#include "dialects/tile/TileDialect.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassRegistry.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

struct ConvertTileToGpu : PassWrapper<ConvertTileToGpu, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertTileToGpu)
  ConvertTileToGpu() = default;
  ConvertTileToGpu(const ConvertTileToGpu &other) : PassWrapper(other) {}
  StringRef getArgument() const override { return "convert-tile-to-gpu"; }
  StringRef getDescription() const override {
    return "Lower tile kernels to gpu functions, rows spread over invocations";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<gpu::GPUDialect, scf::SCFDialect, memref::MemRefDialect, vector::VectorDialect,
                    spirv::SPIRVDialect, tile::TileDialect>();
  }
  void runOnOperation() override {
    if (failed(lowerTileToGpu(getOperation(), arch)))
      signalPassFailure();
  }
  Option<std::string> arch{*this, "arch", llvm::cl::desc("SPIR-V tier: t0, t1 or t1-subgroup8"), llvm::cl::init("t0")};
};

struct ConvertAttnGpuToSpirv : PassWrapper<ConvertAttnGpuToSpirv, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertAttnGpuToSpirv)
  StringRef getArgument() const override { return "convert-attn-gpu-to-spirv"; }
  StringRef getDescription() const override {
    return "Convert lowered kernels to spirv modules that validate";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<spirv::SPIRVDialect>();
  }
  void runOnOperation() override {
    if (failed(lowerGpuToSpirv(getOperation())))
      signalPassFailure();
  }
};

} // namespace

void mlir::attn::registerSpirvPasses() {
  PassRegistration<ConvertTileToGpu>();
  PassRegistration<ConvertAttnGpuToSpirv>();
}
