// Scalar ops enter one by one; integers wrap at 32 bits, numbers are f64.
#include "tests/interpreter/ScalarEvaluator.h"

#include "compiler/conversion/TileParts.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;

namespace attn::interpreter {
namespace {

Scalar ofInteger(int64_t value) { return {static_cast<int32_t>(value), 0}; }
Scalar ofTruth(bool value) { return {value, 0}; }
Scalar ofNumber(double value) { return {0, value}; }

bool compareIntegers(arith::CmpIPredicate predicate, int64_t a, int64_t b) {
  uint32_t ua = static_cast<uint32_t>(a), ub = static_cast<uint32_t>(b);
  switch (predicate) {
  case arith::CmpIPredicate::eq:
    return a == b;
  case arith::CmpIPredicate::ne:
    return a != b;
  case arith::CmpIPredicate::slt:
    return a < b;
  case arith::CmpIPredicate::sle:
    return a <= b;
  case arith::CmpIPredicate::sgt:
    return a > b;
  case arith::CmpIPredicate::sge:
    return a >= b;
  case arith::CmpIPredicate::ult:
    return ua < ub;
  case arith::CmpIPredicate::ule:
    return ua <= ub;
  case arith::CmpIPredicate::ugt:
    return ua > ub;
  case arith::CmpIPredicate::uge:
    return ua >= ub;
  }
  return false;
}

bool compareNumbers(arith::CmpFPredicate predicate, double a, double b) {
  switch (predicate) {
  case arith::CmpFPredicate::OEQ:
    return a == b;
  case arith::CmpFPredicate::UNE:
    return !(a == b);
  case arith::CmpFPredicate::OLT:
    return a < b;
  case arith::CmpFPredicate::OLE:
    return a <= b;
  case arith::CmpFPredicate::OGT:
    return a > b;
  case arith::CmpFPredicate::OGE:
    return a >= b;
  case arith::CmpFPredicate::ONE:
    return a < b || a > b;
  default:
    return false;
  }
}

Scalar readTable(tile::TableLoadOp op, const ScalarValues &values, const ScalarEnvironment &env) {
  const Table &table = env.tables.at(op.getBinding() - env.firstTable);
  int64_t offset = 0;
  for (auto [dim, index] : llvm::enumerate(op.getIndices())) {
    int64_t extent = table.extents.at(dim);
    int64_t at = std::clamp<int64_t>(values.lookup(index).integer, 0, extent - 1);
    offset = offset * extent + at;
  }
  double value = table.values.at(offset);
  return op.getType().isF32() ? ofNumber(value) : ofInteger(static_cast<int64_t>(value));
}

} // namespace

bool evaluateScalarOp(Operation &op, ScalarValues &values, const ScalarEnvironment &env) {
  if (op.getNumResults() != 1)
    return false;
  auto in = [&](unsigned i) { return values.lookup(op.getOperand(i)); };
  auto i = [&](unsigned n) { return in(n).integer; };
  auto u = [&](unsigned n) { return static_cast<uint32_t>(in(n).integer); };
  auto f = [&](unsigned n) { return in(n).number; };
  bool isTruth = op.getResult(0).getType().isInteger(1);
  auto bits = [&](int64_t value) { return isTruth ? ofTruth(value & 1) : ofInteger(value); };
  std::optional<Scalar> result =
      llvm::TypeSwitch<Operation *, std::optional<Scalar>>(&op)
          .Case([&](arith::ConstantOp op) -> std::optional<Scalar> {
            if (auto number = dyn_cast<FloatAttr>(op.getValue()))
              return ofNumber(number.getValueAsDouble());
            auto integer = dyn_cast<IntegerAttr>(op.getValue());
            if (!integer)
              return std::nullopt;
            return isTruth ? ofTruth(integer.getValue().isOne()) : ofInteger(integer.getInt());
          })
          .Case([&](arith::AddIOp) { return bits(i(0) + i(1)); })
          .Case([&](arith::SubIOp) { return bits(i(0) - i(1)); })
          .Case([&](arith::MulIOp) { return bits(i(0) * i(1)); })
          .Case([&](arith::DivSIOp) { return ofInteger(i(0) / i(1)); })
          .Case([&](arith::RemSIOp) { return ofInteger(i(0) % i(1)); })
          .Case([&](arith::DivUIOp) { return ofInteger(u(0) / u(1)); })
          .Case([&](arith::RemUIOp) { return ofInteger(u(0) % u(1)); })
          .Case([&](arith::AndIOp) { return bits(i(0) & i(1)); })
          .Case([&](arith::OrIOp) { return bits(i(0) | i(1)); })
          .Case([&](arith::XOrIOp) { return bits(i(0) ^ i(1)); })
          .Case([&](arith::ShLIOp) { return ofInteger(int64_t(u(0)) << u(1)); })
          .Case([&](arith::ShRSIOp) { return ofInteger(i(0) >> i(1)); })
          .Case([&](arith::ShRUIOp) { return ofInteger(u(0) >> u(1)); })
          .Case([&](arith::MinSIOp) { return ofInteger(std::min(i(0), i(1))); })
          .Case([&](arith::MaxSIOp) { return ofInteger(std::max(i(0), i(1))); })
          .Case([&](arith::MinUIOp) { return ofInteger(std::min(u(0), u(1))); })
          .Case([&](arith::MaxUIOp) { return ofInteger(std::max(u(0), u(1))); })
          .Case([&](arith::CmpIOp op) {
            return ofTruth(compareIntegers(op.getPredicate(), i(0), i(1)));
          })
          .Case([&](arith::CmpFOp op) {
            return ofTruth(compareNumbers(op.getPredicate(), f(0), f(1)));
          })
          .Case([&](arith::SelectOp) { return i(0) ? in(1) : in(2); })
          .Case([&](arith::ExtUIOp) { return ofInteger(i(0)); })
          .Case([&](arith::ExtSIOp) { return ofInteger(-i(0)); })
          .Case([&](arith::SIToFPOp) { return ofNumber(double(i(0))); })
          .Case([&](arith::UIToFPOp) { return ofNumber(double(u(0))); })
          .Case([&](arith::FPToSIOp) { return ofInteger(int64_t(f(0))); })
          .Case([&](arith::AddFOp) { return ofNumber(f(0) + f(1)); })
          .Case([&](arith::SubFOp) { return ofNumber(f(0) - f(1)); })
          .Case([&](arith::MulFOp) { return ofNumber(f(0) * f(1)); })
          .Case([&](arith::DivFOp) { return ofNumber(f(0) / f(1)); })
          .Case([&](arith::NegFOp) { return ofNumber(-f(0)); })
          .Case([&](arith::MinNumFOp) { return ofNumber(std::fmin(f(0), f(1))); })
          .Case([&](arith::MaxNumFOp) { return ofNumber(std::fmax(f(0), f(1))); })
          .Case([&](math::AbsIOp) { return ofInteger(std::abs(i(0))); })
          .Case([&](math::AbsFOp) { return ofNumber(std::fabs(f(0))); })
          .Case([&](math::ExpOp) { return ofNumber(std::exp(f(0))); })
          .Case([&](math::Exp2Op) { return ofNumber(std::exp2(f(0))); })
          .Case([&](math::LogOp) { return ofNumber(std::log(f(0))); })
          .Case([&](math::Log2Op) { return ofNumber(std::log2(f(0))); })
          .Case([&](math::SqrtOp) { return ofNumber(std::sqrt(f(0))); })
          .Case([&](math::TanhOp) { return ofNumber(std::tanh(f(0))); })
          .Case([&](math::SinOp) { return ofNumber(std::sin(f(0))); })
          .Case([&](math::CosOp) { return ofNumber(std::cos(f(0))); })
          .Case([&](math::FloorOp) { return ofNumber(std::floor(f(0))); })
          .Case([&](math::CeilOp) { return ofNumber(std::ceil(f(0))); })
          .Case([&](tile::ParamOp op) {
            double value = env.params.at(op.getIndex());
            return op.getType().isF32() ? ofNumber(value) : ofInteger(int64_t(value));
          })
          .Case([&](tile::IndexOp op) {
            int32_t items[] = {env.head, env.batch, env.layer, env.heads, env.kvHeads};
            return ofInteger(items[op.getWhich()]);
          })
          .Case([&](tile::TableLoadOp op) { return readTable(op, values, env); })
          .Default([](Operation *) { return std::nullopt; });
  if (!result)
    return false;
  values[op.getResult(0)] = *result;
  return true;
}

std::vector<Scalar> evaluateScalars(Block &block, const std::vector<Scalar> &arguments,
                                    const ScalarEnvironment &env) {
  ScalarValues values;
  // Scalars that the kernel computes outside of the region (hoisted constants).
  for (auto [argument, value] : llvm::zip_equal(block.getArguments(), arguments))
    values[argument] = value;
  auto need = [&](auto &&self, Value value) -> void {
    Operation *op = value.getDefiningOp();
    if (values.count(value) || !op || op->getBlock() == &block)
      return;
    for (Value operand : op->getOperands())
      self(self, operand);
    evaluateScalarOp(*op, values, env);
  };
  for (Operation &op : block) {
    for (Value operand : op.getOperands())
      need(need, operand);
    if (op.hasTrait<OpTrait::IsTerminator>())
      break;
    if (!evaluateScalarOp(op, values, env))
      llvm::report_fatal_error("the interpreter does not know " + op.getName().getStringRef());
  }
  std::vector<Scalar> results;
  for (Value value : block.getTerminator()->getOperands())
    results.push_back(values.lookup(value));
  return results;
}

TileAnswer classifyTile(const mlir::attn::KeyClasses &walk, int64_t qLow, int64_t qHigh, int64_t kLow,
                        int64_t kHigh, const ScalarEnvironment &env) {
  using mlir::attn::PositionRange;
  auto classify = [&](PositionRange q, PositionRange k) {
    auto answer = evaluateScalars(
        walk.classify,
        {{q.low, 0}, {q.high, 0}, {k.low, 0}, {k.high, 0}, {env.head, 0}, {env.batch, 0}}, env);
    return std::pair(answer[0].integer != 0, answer[1].integer != 0);
  };
  auto parts = [&](mlir::Block &cuts, PositionRange range) {
    std::vector<int64_t> places;
    for (const Scalar &cut : evaluateScalars(cuts, {{range.low, 0}, {range.high, 0}}, env))
      places.push_back(cut.integer);
    return mlir::attn::partsOf(range, places);
  };
  PositionRange q{qLow, qHigh}, k{kLow, kHigh};
  auto [any, all] = classify(q, k);
  if (any && !all && walk.queryCuts)
    std::tie(any, all) = mlir::attn::classifyParts(parts(*walk.queryCuts, q),
                                                   parts(*walk.keyCuts, k), classify);
  return {any, all};
}

} // namespace attn::interpreter
