// Runs the lowering of each kernel and names the functions.
#include "compiler/target/cpu/TileToVector.h"

#include "compiler/target/cpu/DecodeLowering.h"
#include "compiler/target/cpu/InvertDivisors.h"
#include "compiler/target/cpu/KernelLowering.h"
#include "compiler/target/cpu/RangesFunction.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::attn;

std::string mlir::attn::kernelSymbol(tile::KernelOp kernel) {
  std::string symbol = kernel.getSymName().str();
  std::replace(symbol.begin(), symbol.end(), '.', '_');
  return symbol;
}

LogicalResult mlir::attn::lowerTileToVector(ModuleOp module, const CpuArch &arch) {
  OpBuilder builder(module.getContext());
  for (auto kernel : llvm::make_early_inc_range(module.getOps<tile::KernelOp>())) {
    builder.setInsertionPoint(kernel);
    std::string symbol = kernelSymbol(kernel);
    CpuLowering lowering(kernel, arch);
    if (failed(lowering.lower(builder, symbol)))
      return failure();
    auto func = cast<func::FuncOp>(kernel->getPrevNode());
    int64_t arenaBytes = lowering.arenaBytes();
    if (DecodeLowering::fits(kernel, arch)) {
      DecodeLowering decode(kernel, arch);
      if (failed(decode.lower(builder, symbol)))
        return failure();
      arenaBytes = std::max(arenaBytes, decode.arenaBytes());
    }
    func->setAttr(kArenaBytesAttr, builder.getI64IntegerAttr(arenaBytes));
    emitRangesFunction(builder, kernel, arch, symbol);
    kernel.erase();
  }
  return success();
}

namespace {

struct TileToVectorPass : PassWrapper<TileToVectorPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TileToVectorPass)
  TileToVectorPass() = default;
  TileToVectorPass(const TileToVectorPass &other) : PassWrapper(other) {}
  StringRef getArgument() const final { return "attn-tile-to-vector"; }
  StringRef getDescription() const final { return "Lower tile kernels to vectors of query rows"; }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<arith::ArithDialect, func::FuncDialect, LLVM::LLVMDialect, math::MathDialect,
                    scf::SCFDialect, vector::VectorDialect>();
  }
  void runOnOperation() final {
    const CpuArch *found = findCpuArch(arch);
    if (!found) {
      getOperation().emitError("unknown cpu architecture '") << arch << "'";
      return signalPassFailure();
    }
    if (failed(lowerTileToVector(getOperation(), *found)))
      signalPassFailure();
  }
  Option<std::string> arch{*this, "arch", llvm::cl::init("avx512"),
                           llvm::cl::desc("the name of a CpuArch")};
};

} // namespace

void mlir::attn::registerCpuPasses() {
  PassRegistration<TileToVectorPass>();
  registerInvertDivisorsPass();
}
