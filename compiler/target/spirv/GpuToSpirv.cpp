// One full conversion with the patterns of every dialect that a lowered kernel
// uses, and the fix-ups that MLIR 22's patterns need.
#include "compiler/target/spirv/GpuToSpirv.h"

#include "mlir/Conversion/ArithToSPIRV/ArithToSPIRV.h"
#include "mlir/Conversion/GPUToSPIRV/GPUToSPIRV.h"
#include "mlir/Conversion/IndexToSPIRV/IndexToSPIRV.h"
#include "mlir/Conversion/MathToSPIRV/MathToSPIRV.h"
#include "mlir/Conversion/MemRefToSPIRV/MemRefToSPIRV.h"
#include "mlir/Conversion/SCFToSPIRV/SCFToSPIRV.h"
#include "mlir/Conversion/UBToSPIRV/UBToSPIRV.h"
#include "mlir/Conversion/VectorToSPIRV/VectorToSPIRV.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/Dialect/SPIRV/Transforms/SPIRVConversion.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Target/SPIRV/Serialization.h"
#include "mlir/Transforms/DialectConversion.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

// math.exp2, math.log2 -> the GLSL instructions of that name, which the stock
// patterns leave out.
template <typename From, typename To> struct ToGlsl : OpConversionPattern<From> {
  using OpConversionPattern<From>::OpConversionPattern;
  LogicalResult matchAndRewrite(From op, typename From::Adaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Type type = this->getTypeConverter()->convertType(op.getType());
    if (!type)
      return failure();
    rewriter.replaceOpWithNewOp<To>(op, type, adaptor.getOperand());
    return success();
  }
};

// math.trunc x -> convert to sign(x) * floor(|x|), exact.
struct TruncToGlsl : OpConversionPattern<math::TruncOp> {
  using OpConversionPattern::OpConversionPattern;
  LogicalResult matchAndRewrite(math::TruncOp op, OpAdaptor adaptor,
                                ConversionPatternRewriter &rewriter) const override {
    Type type = getTypeConverter()->convertType(op.getType());
    if (!type)
      return failure();
    Location loc = op.getLoc();
    Value sign = spirv::GLFSignOp::create(rewriter, loc, type, adaptor.getOperand());
    Value magnitude = spirv::GLFAbsOp::create(rewriter, loc, type, adaptor.getOperand());
    Value whole = spirv::GLFloorOp::create(rewriter, loc, type, magnitude);
    rewriter.replaceOpWithNewOp<spirv::FMulOp>(op, type, sign, whole);
    return success();
  }
};

} // namespace

// One sweep of folding and local patterns. Where equal expressions are already one it
// finds what repeated sweeps with merged blocks find, in a tenth of the time.
static std::unique_ptr<Pass> createFoldPass() {
  GreedyRewriteConfig once;
  once.setMaxIterations(1).setRegionSimplificationLevel(GreedySimplifyRegionLevel::Disabled);
  return createCanonicalizerPass(once);
}

// Loops become scf.while. The pattern for scf.for leaves its results undefined when
// the body never runs (MLIR 22); the one for scf.while is right.
static void convertToWhile(scf::ForOp loop) {
  OpBuilder b(loop);
  Location loc = loop.getLoc();
  SmallVector<Value> starts{loop.getLowerBound()};
  llvm::append_range(starts, loop.getInitArgs());
  auto whole = scf::WhileOp::create(
      b, loc, TypeRange(ValueRange(starts)), starts,
      [&](OpBuilder &b, Location loc, ValueRange values) {
        auto predicate =
            loop.getUnsignedCmp() ? arith::CmpIPredicate::ult : arith::CmpIPredicate::slt;
        Value more = arith::CmpIOp::create(b, loc, predicate, values[0], loop.getUpperBound());
        scf::ConditionOp::create(b, loc, more, values);
      },
      /*afterBuilder=*/nullptr);
  b.createBlock(&whole.getAfter(), {}, TypeRange(ValueRange(starts)),
                SmallVector<Location>(starts.size(), loc));
  Block *body = whole.getAfterBody();
  auto yield = cast<scf::YieldOp>(loop.getBody()->getTerminator());
  b.setInsertionPoint(yield);
  SmallVector<Value> next{arith::AddIOp::create(b, loc, loop.getInductionVar(), loop.getStep())};
  llvm::append_range(next, yield.getOperands());
  scf::YieldOp::create(b, loc, next);
  yield.erase();
  for (auto [from, to] : llvm::zip_equal(loop.getBody()->getArguments(), body->getArguments()))
    from.replaceAllUsesWith(to);
  body->getOperations().splice(body->end(), loop.getBody()->getOperations());
  loop.replaceAllUsesWith(whole.getResults().drop_front());
  loop.erase();
}

// Shrinks a kernel before conversion: equal expressions once, and what does not
// change in a loop before it, so that a mask's query side is computed per row.
static LogicalResult simplify(ModuleOp module) {
  PassManager pm(module.getContext());
  pm.enableVerifier(false); // the result is verified, once
  auto &nested = pm.nest<gpu::GPUModuleOp>();
  nested.addPass(createCSEPass());
  nested.addPass(createFoldPass());
  nested.addPass(createCSEPass());
  nested.addPass(createLoopInvariantCodeMotionPass());
  nested.addPass(createCSEPass());
  if (failed(pm.run(module)))
    return failure();
  SmallVector<scf::ForOp> loops;
  module.walk([&](scf::ForOp loop) { loops.push_back(loop); });
  llvm::for_each(loops, convertToWhile);
  return success();
}

static LogicalResult convert(gpu::GPUModuleOp module) {
  MLIRContext *context = module.getContext();
  spirv::MemorySpaceToStorageClassConverter spaces(spirv::mapMemorySpaceToVulkanStorageClass);
  spirv::convertMemRefTypesAndAttrs(module, spaces);

  auto env = spirv::lookupTargetEnvOrDefault(module);
  auto target = SPIRVConversionTarget::get(env);
  SPIRVConversionOptions options;
  options.emulateLT32BitScalarTypes = false;
  options.emulateUnsupportedFloatTypes = false;
  SPIRVTypeConverter types(env, options);
  ScfToSPIRVContext scfContext;
  RewritePatternSet patterns(context);
  arith::populateCeilFloorDivExpandOpsPatterns(patterns);
  populateGPUToSPIRVPatterns(types, patterns);
  populateSCFToSPIRVPatterns(types, scfContext, patterns);
  arith::populateArithToSPIRVPatterns(types, patterns);
  populateMathToSPIRVPatterns(types, patterns);
  populateMemRefToSPIRVPatterns(types, patterns);
  populateVectorToSPIRVPatterns(types, patterns);
  populateBuiltinFuncToSPIRVPatterns(types, patterns);
  ub::populateUBToSPIRVConversionPatterns(types, patterns);
  index::populateIndexToSPIRVPatterns(types, patterns);
  patterns.add<ToGlsl<math::Exp2Op, spirv::GLExp2Op>, ToGlsl<math::Log2Op, spirv::GLLog2Op>,
               TruncToGlsl>(types, context, /*benefit=*/10);
  ConversionConfig config;
  config.foldingMode = DialectConversionFoldingMode::Never; // createFoldPass has been here
  return applyFullConversion(module.getOperation(), *target, std::move(patterns), config);
}

// Makes a module state what it uses. update-vce deduces the least version, although
// the interface of the entry point was written for the target's: that is stated. It
// also takes the dot product's capability for one of v1.6, although the extension
// brings it to v1.3: it may deduce from v1.6.
static LogicalResult stateUses(spirv::ModuleOp module) {
  MLIRContext *context = module.getContext();
  spirv::TargetEnvAttr env = spirv::lookupTargetEnvOrDefault(module);
  auto withVersion = [&](spirv::Version version, auto capabilities, auto extensions) {
    return spirv::VerCapExtAttr::get(version, SmallVector<spirv::Capability>(capabilities),
                                     SmallVector<spirv::Extension>(extensions), context);
  };
  spirv::VerCapExtAttr allowed = env.getTripleAttr();
  auto wide =
      withVersion(spirv::Version::V_1_6, allowed.getCapabilities(), allowed.getExtensions());
  module->setAttr(spirv::getTargetEnvAttrName(),
                  spirv::TargetEnvAttr::get(wide, env.getResourceLimits(), env.getClientAPI(),
                                            env.getVendorID(), env.getDeviceType(),
                                            env.getDeviceID()));
  PassManager pm(context, spirv::ModuleOp::getOperationName());
  pm.enableVerifier(false); // the result is verified, once
  pm.addPass(spirv::createSPIRVUpdateVCEPass());
  if (failed(pm.run(module)))
    return failure();
  auto deduced = *module.getVceTriple();
  module.setVceTripleAttr(
      withVersion(env.getVersion(), deduced.getCapabilities(), deduced.getExtensions()));
  module->setAttr(spirv::getTargetEnvAttrName(), env);
  return success();
}

LogicalResult mlir::attn::lowerGpuToSpirv(ModuleOp module) {
  if (failed(simplify(module)))
    return failure();
  for (auto gpuModule : llvm::make_early_inc_range(module.getOps<gpu::GPUModuleOp>()))
    if (failed(convert(gpuModule)))
      return failure();
  PassManager pm(module.getContext());
  pm.enableVerifier(false); // the result is verified, once
  auto &nested = pm.nest<spirv::ModuleOp>();
  nested.addPass(spirv::createSPIRVLowerABIAttributesPass());
  nested.addPass(createFoldPass());
  nested.addPass(createCSEPass());
  if (failed(pm.run(module)))
    return failure();
  for (auto spirvModule : module.getOps<spirv::ModuleOp>())
    if (failed(stateUses(spirvModule)))
      return failure();
  return verify(module);
}

FailureOr<std::string> mlir::attn::serializeSpirv(spirv::ModuleOp module) {
  SmallVector<uint32_t> words;
  if (failed(spirv::serialize(module, words)))
    return module.emitError("cannot be written as a SPIR-V binary");
  return std::string(reinterpret_cast<const char *>(words.data()), words.size() * 4);
}
