// Compiles the text of a tile kernel to PTX; see Compile.h.
#include "tests/target/ptx/Compile.h"

#include "dialects/tile/TileDialect.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

#include <chrono>

using mlir::failed;
using mlir::FailureOr;
using mlir::MLIRContext;
using mlir::ModuleOp;

auto attn::test::compileText(const std::string &text, const std::string &arch,
                             mlir::attn::Stage stage) -> Compiled {
  Compiled compiled;
  MLIRContext context(MLIRContext::Threading::DISABLED);
  context
      .loadDialect<mlir::tile::TileDialect, mlir::arith::ArithDialect, mlir::math::MathDialect>();
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic &diagnostic) {
    compiled.diagnostics += diagnostic.str() + "\n";
  });
  auto module = mlir::parseSourceString<ModuleOp>(text, &context);
  if (!module)
    return compiled;
  auto start = std::chrono::steady_clock::now();
  FailureOr<mlir::attn::TargetOutput> output = mlir::attn::compilePtx(*module, arch, stage);
  compiled.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  if (failed(output))
    return compiled;
  compiled.ok = true;
  compiled.output = *output;
  compiled.info = output->kernels[0];
  compiled.ptx = output->images.empty() ? output->text : output->images[0];
  return compiled;
}
