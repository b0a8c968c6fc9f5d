// Takes math ops on f32 scalars, leaves arithmetic: angles are reduced to one
// turn, everything else goes to the polynomials that MLIR has.
#include "compiler/target/ptx/PtxBuilder.h"
#include "compiler/target/ptx/PtxPipeline.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

using namespace mlir;
using namespace mlir::attn;

// x - round(x / 2 pi) * 2 pi. Positions make large angles, and the polynomials
// reduce by a constant of 24 bits: at 70,000 radians they are off by 2e-3. Three
// constants and fused steps lose nothing that shows.
static Value reduceAngle(OpBuilder &b, Location loc, Value x) {
  auto constant = [&](double value) -> Value {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(static_cast<float>(value)));
  };
  constexpr double kTurn = 6.283185307179586477;
  constexpr float kHigh = static_cast<float>(kTurn);
  constexpr float kLow = static_cast<float>(kTurn - kHigh);
  Value turns =
      math::RoundEvenOp::create(b, loc, arith::MulFOp::create(b, loc, x, constant(1 / kTurn)));
  Value minus = arith::NegFOp::create(b, loc, turns);
  x = math::FmaOp::create(b, loc, minus, constant(kHigh), x);
  x = math::FmaOp::create(b, loc, minus, constant(kLow), x);
  return math::FmaOp::create(b, loc, minus, constant(kTurn - kHigh - kLow), x);
}

// c tanh x = c - 2 c / (1 + e^2x), where what overflows or vanishes gives c or -c. A score
// function multiplies it by a cap, so that its absolute error counts; the cap's product is
// part of the last step, of which there is one per pair.
static void expandFastTanh(math::TanhOp op) {
  OpBuilder builder(op);
  PtxBuilder p(builder, op.getLoc());
  constexpr double kLog2e = 1.4426950408889634;
  Value power = p.exp2(p.fmul(op.getOperand(), p.f32(2 * kLog2e)));
  Value inverse =
      p.intrinsic("llvm.nvvm.rcp.approx.ftz.f", p.getF32Type(), p.fadd(power, p.f32(1)));
  auto product = op->hasOneUse() ? dyn_cast<arith::MulFOp>(*op->user_begin()) : nullptr;
  if (!product) {
    op.replaceAllUsesWith(p.fma(inverse, p.f32(-2), p.f32(1)));
    op.erase();
    return;
  }
  builder.setInsertionPoint(product);
  Value cap = product.getLhs() == op.getResult() ? product.getRhs() : product.getLhs();
  FloatAttr constant;
  Value twice = matchPattern(cap, m_Constant(&constant)) ? p.f32(-2 * constant.getValueAsDouble())
                                                         : p.fmul(cap, p.f32(-2));
  product.replaceAllUsesWith(p.fma(inverse, twice, cap));
  product.erase();
  op.erase();
}

// ln x through the logarithm to base 2. It keeps subnormal numbers apart from 0.
static Value approximateLog(OpBuilder &b, Location loc, Value x) {
  PtxBuilder p(b, loc);
  return p.fmul(p.intrinsic("llvm.nvvm.lg2.approx.f", p.getF32Type(), x),
                p.f32(0.693147180559945309));
}

static Value approximateExp(OpBuilder &b, Location loc, Value x) {
  PtxBuilder p(b, loc);
  return p.exp2(p.fmul(x, p.f32(1.44269504088896341)));
}

// Whether an op on scalars of f32 may be approximate.
template <typename Op> static bool isFast(Op op) {
  return bitEnumContainsAll(op.getFastmath(), arith::FastMathFlags::afn) && op.getType().isF32();
}

// x / y as a product: with the rounded 1 / c of a constant, else with rcp.approx.ftz. The
// division that keeps what lies outside 2^-126 .. 2^126 costs several instructions more.
static void expandFastDivisions(ModuleOp module) {
  module.walk([](arith::DivFOp op) {
    if (!isFast(op))
      return;
    OpBuilder builder(op);
    PtxBuilder p(builder, op.getLoc());
    FloatAttr divisor;
    Value inverse;
    if (matchPattern(op.getRhs(), m_Constant(&divisor)))
      inverse = p.f32(1 / divisor.getValueAsDouble());
    else
      inverse = p.intrinsic("llvm.nvvm.rcp.approx.ftz.f", p.getF32Type(), op.getRhs());
    bool isOne = matchPattern(op.getLhs(), m_OneFloat());
    op.replaceAllUsesWith(isOne ? inverse : p.fmul(op.getLhs(), inverse));
    op.erase();
  });
}

// Replaces each Op that may be approximate.
template <typename Op>
static void expandFast(ModuleOp module, Value (*expand)(OpBuilder &, Location, Value)) {
  module.walk([&](Op op) {
    if (!isFast(op))
      return;
    OpBuilder builder(op);
    op.replaceAllUsesWith(expand(builder, op.getLoc(), op.getOperand()));
    op.erase();
  });
}

namespace {

struct ExpandMath : PassWrapper<ExpandMath, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ExpandMath)

  StringRef getArgument() const override { return "ptx-expand-math"; }
  StringRef getDescription() const override {
    return "Replace functions of f32 by polynomials that need no device library";
  }
  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<arith::ArithDialect, math::MathDialect, LLVM::LLVMDialect>();
  }

  void runOnOperation() override {
    expandFastDivisions(getOperation());
    SmallVector<math::TanhOp> tanhs; // expanding one erases its user, too
    getOperation().walk([&](math::TanhOp op) {
      if (isFast(op))
        tanhs.push_back(op);
    });
    llvm::for_each(tanhs, expandFastTanh);
    expandFast<math::LogOp>(getOperation(), approximateLog);
    expandFast<math::ExpOp>(getOperation(), approximateExp);
    bool any = false;
    getOperation().walk([&](Operation *op) {
      any |= isa<math::MathDialect>(op->getDialect()) && !isa<math::FmaOp>(op);
      if (isa<math::SinOp, math::CosOp>(op) && op->getResult(0).getType().isF32()) {
        OpBuilder builder(op);
        op->setOperand(0, reduceAngle(builder, op->getLoc(), op->getOperand(0)));
      }
    });
    if (!any)
      return;
    RewritePatternSet patterns(&getContext());
    math::populateExpansionPatterns(
        patterns, {"tan", "sinh", "cosh", "asinh", "acosh", "atanh", "powf", "fpowi", "exp2"});
    populateMathPolynomialApproximationPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace

std::unique_ptr<Pass> mlir::attn::createExpandMathPass() { return std::make_unique<ExpandMath>(); }
