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

// Replaces transcendental functions by polynomials on vectors. First those that
// have no polynomial of their own are rewritten in terms of others.
static LogicalResult approximateMath(ModuleOp module) {
  RewritePatternSet expansions(module.getContext());
  math::populateExpansionPatterns(expansions, {"tan", "sinh", "cosh", "exp2", "powf", "fpowi",
                                               "asinh", "acosh", "atanh", "clampf"});
  if (failed(applyPatternsGreedily(module, std::move(expansions))))
    return failure();
  RewritePatternSet polynomials(module.getContext());
  populateMathPolynomialApproximationPatterns(polynomials);
  return applyPatternsGreedily(module, std::move(polynomials));
}

LogicalResult mlir::attn::lowerVectorToLlvm(ModuleOp module) {
  if (failed(approximateMath(module)))
    return failure();
  invertDivisors(module);
  PassManager passes(module.getContext());
  passes.enableVerifier(false);
  passes.addPass(createCanonicalizerPass());
  passes.addPass(createCSEPass());
  passes.addPass(createLoopInvariantCodeMotionPass());
  passes.addPass(createSCFToControlFlowPass());
  passes.addPass(createConvertVectorToLLVMPass());
  passes.addPass(createArithToLLVMConversionPass());
  passes.addPass(createConvertMathToLLVMPass());
  ConvertFuncToLLVMPassOptions func;
  func.useBarePtrCallConv = true;
  passes.addPass(createConvertFuncToLLVMPass(func));
  passes.addPass(createConvertControlFlowToLLVMPass());
  passes.addPass(createUBToLLVMConversionPass()); // canonicalization leaves ub.poison
  passes.addPass(createReconcileUnrealizedCastsPass());
  return passes.run(module);
}
