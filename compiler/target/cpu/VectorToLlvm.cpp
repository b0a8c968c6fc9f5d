// The ordered list of conversions.
#include "compiler/target/cpu/VectorToLlvm.h"

#include "compiler/target/cpu/InvertDivisors.h"

#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::attn;

// Applies `patterns` to the math ops and to what comes out of them.
static LogicalResult rewriteMath(func::FuncOp function, const FrozenRewritePatternSet &patterns) {
  SmallVector<Operation *> ops;
  function.walk([&](Operation *op) {
    if (isa<math::MathDialect>(op->getDialect()))
      ops.push_back(op);
  });
  GreedyRewriteConfig config;
  config.setStrictness(GreedyRewriteStrictness::ExistingAndNewOps);
  return applyOpPatternsGreedily(ops, patterns, config);
}

namespace {

/// Replaces transcendental functions by polynomials on vectors. First those that
/// have no polynomial of their own are rewritten in terms of others.
struct ApproximateMathPass : PassWrapper<ApproximateMathPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ApproximateMathPass)
  StringRef getName() const final { return "ApproximateMath"; }
  LogicalResult initialize(MLIRContext *context) final {
    RewritePatternSet rewritten(context), approximated(context);
    math::populateExpansionPatterns(rewritten, {"tan", "sinh", "cosh", "exp2", "powf", "fpowi",
                                                "asinh", "acosh", "atanh", "clampf"});
    populateMathPolynomialApproximationPatterns(approximated);
    expansions = std::move(rewritten);
    polynomials = std::move(approximated);
    return success();
  }
  void runOnOperation() final {
    if (failed(rewriteMath(getOperation(), expansions)) ||
        failed(rewriteMath(getOperation(), polynomials)))
      signalPassFailure();
  }

  FrozenRewritePatternSet expansions, polynomials;
};

} // namespace

LogicalResult mlir::attn::lowerVectorToLlvm(ModuleOp module) {
  invertDivisors(module);
  PassManager passes(module.getContext());
  passes.enableVerifier(false);
  OpPassManager &function = passes.nest<func::FuncOp>(); // on functions, beside each other
  function.addPass(std::make_unique<ApproximateMathPass>());
  GreedyRewriteConfig once; // further sweeps find nothing more in what the lowerings write
  once.setMaxIterations(1).setRegionSimplificationLevel(GreedySimplifyRegionLevel::Disabled);
  function.addPass(createCanonicalizerPass(once));
  function.addPass(createCSEPass());
  function.addPass(createLoopInvariantCodeMotionPass());
  function.addPass(createSCFToControlFlowPass());
  function.addPass(createConvertVectorToLLVMPass());
  function.addPass(createArithToLLVMConversionPass());
  function.addPass(createConvertMathToLLVMPass());
  ConvertFuncToLLVMPassOptions func;
  func.useBarePtrCallConv = true;
  passes.addPass(createConvertFuncToLLVMPass(func));
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createUBToLLVMConversionPass()); // canonicalization leaves ub.poison
  passes.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}
