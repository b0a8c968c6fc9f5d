// mlir-opt with the attn and tile dialects and our passes: reads IR as text,
// leaves IR as text.
#include "compiler/conversion/Passes.h"
#include "compiler/target/cpu/TileToVector.h"
#include "compiler/target/ptx/PtxPipeline.h"
#include "compiler/target/spirv/GpuToSpirv.h"
#include "dialects/attn/AttnDialect.h"
#include "dialects/tile/TileDialect.h"

#include "mlir/Conversion/Passes.h"
#include "mlir/InitAllDialects.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::registerAllDialects(registry);
  registry.insert<mlir::attn::AttnDialect, mlir::tile::TileDialect>();
  mlir::registerTransformsPasses();
  mlir::registerConversionPasses();
  mlir::attn::registerAttnConversionPasses();
  mlir::attn::registerSpirvPasses();
  mlir::attn::registerCpuPasses();
  mlir::attn::registerPtxPasses();
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "attention kernel optimizer\n", registry));
}
