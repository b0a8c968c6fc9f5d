// Finds the divisions, then a place for each divisor's inverse.
#include "compiler/target/cpu/InvertDivisors.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "mlir/Pass/Pass.h"

using namespace mlir;
using namespace mlir::attn;

namespace {

/// What a division takes: i32 and i64.
struct Inverse {
  Value factor, shift;
};

class DivisorInverter {
public:
  explicit DivisorInverter(func::FuncOp func)
      : func(func), atEntry(OpBuilder::atBlockBegin(&func.getBody().front())) {}
  void run();

private:
  bool isOfCall(Value value);
  Value copyToEntry(Value value);
  std::optional<Inverse> inverseOf(Value divisor, Operation *division);
  static Inverse invert(OpBuilder &builder, Location loc, Value divisor);

  func::FuncOp func;
  OpBuilder atEntry;
  IRMapping copies; // of values that the call determines, at the entry
  DenseMap<Value, bool> ofCall;
  DenseMap<Value, Inverse> inverses;
};

} // namespace

// Loads of what nothing changes and arithmetic on them can be done at the entry.
bool DivisorInverter::isOfCall(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return value.getParentRegion() == &func.getBody();
  if (auto known = ofCall.find(value); known != ofCall.end())
    return known->second;
  auto load = dyn_cast<LLVM::LoadOp>(op);
  bool movable = op->getNumRegions() == 0 && (load ? load.getInvariant() : isPure(op));
  bool result = movable && llvm::all_of(op->getOperands(), [&](Value v) { return isOfCall(v); });
  return ofCall[value] = result;
}

Value DivisorInverter::copyToEntry(Value value) {
  Operation *op = value.getDefiningOp();
  if (op && !copies.contains(value)) {
    for (Value operand : op->getOperands())
      copyToEntry(operand);
    atEntry.clone(*op, copies);
  }
  return copies.lookupOrDefault(value);
}

Inverse DivisorInverter::invert(OpBuilder &builder, Location loc, Value divisor) {
  Type i32 = builder.getI32Type(), i64 = builder.getI64Type();
  auto number = [&](Type type, int64_t value) -> Value {
    return arith::ConstantOp::create(builder, loc, builder.getIntegerAttr(type, value));
  };
  // A division that is never reached may have the divisor 0.
  Value one = number(i32, 1);
  Value d = arith::MaxUIOp::create(builder, loc, divisor, one);
  Value zeros = math::CountLeadingZerosOp::create(builder, loc,
                                                  arith::SubIOp::create(builder, loc, d, one));
  Value digits = arith::SubIOp::create(builder, loc, number(i32, 32), zeros);
  digits = arith::ExtUIOp::create(builder, loc, i64, digits);
  Value wide = arith::ExtUIOp::create(builder, loc, i64, d);
  Value power = arith::ShLIOp::create(builder, loc, number(i64, int64_t(1) << 31), digits);
  Value raised = arith::AddIOp::create(
      builder, loc, power, arith::SubIOp::create(builder, loc, wide, number(i64, 1)));
  Value factor = arith::DivUIOp::create(builder, loc, raised, wide);
  return {arith::TruncIOp::create(builder, loc, i32, factor),
          arith::AddIOp::create(builder, loc, digits, number(i64, 31))};
}

std::optional<Inverse> DivisorInverter::inverseOf(Value divisor, Operation *division) {
  if (auto known = inverses.find(divisor); known != inverses.end())
    return known->second;
  auto loop = division->getParentOfType<LoopLikeOpInterface>();
  if (!loop)
    return std::nullopt;
  Location loc = divisor.getLoc();
  if (isOfCall(divisor))
    return inverses[divisor] = invert(atEntry, loc, copyToEntry(divisor));
  if (!loop.isDefinedOutsideOfLoop(divisor))
    return std::nullopt;
  OpBuilder builder(division);
  builder.setInsertionPointAfterValue(divisor);
  return inverses[divisor] = invert(builder, loc, divisor);
}

void DivisorInverter::run() {
  SmallVector<Operation *> divisions;
  func.walk([&](Operation *op) {
    if (isa<arith::DivUIOp, arith::RemUIOp>(op) &&
        getElementTypeOrSelf(op->getResult(0)).isInteger(32))
      divisions.push_back(op);
  });
  for (Operation *op : divisions) {
    Value divisor = op->getOperand(1), x = op->getOperand(0);
    if (auto broadcast = divisor.getDefiningOp<vector::BroadcastOp>())
      divisor = broadcast.getSource();
    if (!divisor.getType().isInteger(32) || matchPattern(divisor, m_Constant()))
      continue;
    std::optional<Inverse> inverse = inverseOf(divisor, op);
    if (!inverse)
      continue;
    OpBuilder builder(op);
    Location loc = op->getLoc();
    Type narrow = x.getType(), wide = builder.getI64Type();
    auto like = [&](Value scalar) -> Value {
      auto vector = dyn_cast<VectorType>(narrow);
      return vector ? vector::BroadcastOp::create(builder, loc,
                                                  vector.clone(scalar.getType()), scalar)
                    : scalar;
    };
    if (auto vector = dyn_cast<VectorType>(narrow))
      wide = vector.clone(wide);
    Value product = arith::MulIOp::create(
        builder, loc, arith::ExtUIOp::create(builder, loc, wide, x),
        arith::ExtUIOp::create(builder, loc, wide, like(inverse->factor)));
    Value result = arith::TruncIOp::create(
        builder, loc, narrow,
        arith::ShRUIOp::create(builder, loc, product, like(inverse->shift)));
    if (isa<arith::RemUIOp>(op))
      result = arith::SubIOp::create(
          builder, loc, x, arith::MulIOp::create(builder, loc, result, op->getOperand(1)));
    op->getResult(0).replaceAllUsesWith(result);
    op->erase();
  }
}

void mlir::attn::invertDivisors(ModuleOp module) {
  for (auto func : module.getOps<func::FuncOp>())
    if (!func.isDeclaration())
      DivisorInverter(func).run();
}

namespace {

struct InvertDivisorsPass : PassWrapper<InvertDivisorsPass, OperationPass<ModuleOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(InvertDivisorsPass)
  StringRef getArgument() const final { return "attn-invert-divisors"; }
  StringRef getDescription() const final {
    return "Multiply by the inverses of divisors that do not change in a loop";
  }
  void getDependentDialects(DialectRegistry &registry) const final {
    registry.insert<arith::ArithDialect, math::MathDialect, vector::VectorDialect>();
  }
  void runOnOperation() final { invertDivisors(getOperation()); }
};

} // namespace

void mlir::attn::registerInvertDivisorsPass() { PassRegistration<InvertDivisorsPass>(); }
