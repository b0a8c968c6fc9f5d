// Flattens arith and math ops on scalars into steps and executes them.
#include "compiler/explain/RegionEvaluator.h"

#include "dialects/tile/TileDialect.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

#include <algorithm>
#include <cmath>

using namespace mlir;
using namespace mlir::attn;

enum class RegionEvaluator::Code : uint8_t {
  Constant, Param, Head, Batch, Layer, TableInt, TableFloat,
  AddI, SubI, MulI, DivS, DivU, FloorDiv, RemS, RemU, And, Or, Xor, Shl, ShrS, ShrU,
  MinS, MaxS, MinU, MaxU, CmpI, AbsI, Select, Trunc1, ZeroExtend,
  AddF, SubF, MulF, DivF, NegF, MinF, MaxF, CmpF, AbsF, Exp, Exp2, Log, Log2, Sqrt, Tanh, Sin,
  Cos, Floor, Ceil, Fma, IntToFloat, FloatToInt
};

bool RegionEvaluator::makeStep(Operation &op, int64_t firstTable, Step &step,
                               std::string &reason) {
  auto set = [&](Code code) {
    step.code = code;
    return true;
  };
  auto known = [&](bool ok) {
    if (!ok)
      reason = ("the region uses " + op.getName().getStringRef() + ", whose value is known only at run time").str();
    return ok;
  };
  return llvm::TypeSwitch<Operation *, bool>(&op)
      .Case<arith::ConstantOp>([&](auto constant) {
        if (auto integer = dyn_cast<IntegerAttr>(constant.getValue()))
          step.constant.i = integer.getType().isInteger(1) ? integer.getValue().getZExtValue()
                                                           : integer.getInt();
        else
          step.constant.f = cast<FloatAttr>(constant.getValue()).getValue().convertToFloat();
        return set(Code::Constant);
      })
      .Case<tile::ParamOp>([&](auto param) {
        step.constant.i = param.getIndex();
        return set(Code::Param);
      })
      .Case<tile::IndexOp>([&](auto item) {
        return set(item.getWhich() == 0 ? Code::Head : item.getWhich() == 1 ? Code::Batch : Code::Layer);
      })
      .Case<tile::TableLoadOp>([&](auto load) {
        step.constant.i = load.getBinding() - firstTable;
        return set(load.getType().isF32() ? Code::TableFloat : Code::TableInt);
      })
      .Case<arith::CmpIOp>([&](auto cmp) {
        step.predicate = uint8_t(cmp.getPredicate());
        return set(Code::CmpI);
      })
      .Case<arith::CmpFOp>([&](auto cmp) {
        step.predicate = uint8_t(cmp.getPredicate());
        return set(Code::CmpF);
      })
      .Case<arith::ExtUIOp>([&](auto) { return set(Code::ZeroExtend); })
      .Case<arith::TruncIOp>([&](auto cast) {
        return cast.getType().isInteger(1) ? set(Code::Trunc1) : known(false);
      })
      .Case<arith::AddIOp>([&](auto) { return set(Code::AddI); })
      .Case<arith::SubIOp>([&](auto) { return set(Code::SubI); })
      .Case<arith::MulIOp>([&](auto) { return set(Code::MulI); })
      .Case<arith::DivSIOp>([&](auto) { return set(Code::DivS); })
      .Case<arith::DivUIOp>([&](auto) { return set(Code::DivU); })
      .Case<arith::FloorDivSIOp>([&](auto) { return set(Code::FloorDiv); })
      .Case<arith::RemSIOp>([&](auto) { return set(Code::RemS); })
      .Case<arith::RemUIOp>([&](auto) { return set(Code::RemU); })
      .Case<arith::AndIOp>([&](auto) { return set(Code::And); })
      .Case<arith::OrIOp>([&](auto) { return set(Code::Or); })
      .Case<arith::XOrIOp>([&](auto) { return set(Code::Xor); })
      .Case<arith::ShLIOp>([&](auto) { return set(Code::Shl); })
      .Case<arith::ShRSIOp>([&](auto) { return set(Code::ShrS); })
      .Case<arith::ShRUIOp>([&](auto) { return set(Code::ShrU); })
      .Case<arith::MinSIOp>([&](auto) { return set(Code::MinS); })
      .Case<arith::MaxSIOp>([&](auto) { return set(Code::MaxS); })
      .Case<arith::MinUIOp>([&](auto) { return set(Code::MinU); })
      .Case<arith::MaxUIOp>([&](auto) { return set(Code::MaxU); })
      .Case<arith::SelectOp>([&](auto) { return set(Code::Select); })
      .Case<arith::AddFOp>([&](auto) { return set(Code::AddF); })
      .Case<arith::SubFOp>([&](auto) { return set(Code::SubF); })
      .Case<arith::MulFOp>([&](auto) { return set(Code::MulF); })
      .Case<arith::DivFOp>([&](auto) { return set(Code::DivF); })
      .Case<arith::NegFOp>([&](auto) { return set(Code::NegF); })
      .Case<arith::MinNumFOp, arith::MinimumFOp>([&](auto) { return set(Code::MinF); })
      .Case<arith::MaxNumFOp, arith::MaximumFOp>([&](auto) { return set(Code::MaxF); })
      .Case<arith::SIToFPOp>([&](auto) { return set(Code::IntToFloat); })
      .Case<arith::FPToSIOp>([&](auto) { return set(Code::FloatToInt); })
      .Case<math::AbsIOp>([&](auto) { return set(Code::AbsI); })
      .Case<math::AbsFOp>([&](auto) { return set(Code::AbsF); })
      .Case<math::ExpOp>([&](auto) { return set(Code::Exp); })
      .Case<math::Exp2Op>([&](auto) { return set(Code::Exp2); })
      .Case<math::LogOp>([&](auto) { return set(Code::Log); })
      .Case<math::Log2Op>([&](auto) { return set(Code::Log2); })
      .Case<math::SqrtOp>([&](auto) { return set(Code::Sqrt); })
      .Case<math::TanhOp>([&](auto) { return set(Code::Tanh); })
      .Case<math::SinOp>([&](auto) { return set(Code::Sin); })
      .Case<math::CosOp>([&](auto) { return set(Code::Cos); })
      .Case<math::FloorOp>([&](auto) { return set(Code::Floor); })
      .Case<math::CeilOp>([&](auto) { return set(Code::Ceil); })
      .Case<math::FmaOp>([&](auto) { return set(Code::Fma); })
      .Default([&](Operation *) { return known(false); });
}

std::optional<RegionEvaluator> RegionEvaluator::create(Block &block, int64_t firstTable,
                                                       std::string &reason) {
  RegionEvaluator evaluator;
  llvm::DenseMap<Value, uint32_t> registerOf;
  for (BlockArgument arg : block.getArguments())
    registerOf[arg] = evaluator.argumentCount++;
  uint32_t next = evaluator.argumentCount;
  for (Operation &op : block.without_terminator()) {
    Step step{};
    if (!makeStep(op, firstTable, step, reason))
      return std::nullopt;
    uint32_t *slots[] = {&step.a, &step.b, &step.c, &step.d};
    for (auto [i, operand] : llvm::enumerate(op.getOperands()))
      *slots[i] = registerOf.lookup(operand);
    step.result = registerOf[op.getResult(0)] = next++;
    evaluator.steps.push_back(step);
  }
  for (Value value : block.getTerminator()->getOperands())
    evaluator.outputs.push_back(registerOf.lookup(value));
  evaluator.registers.resize(next);
  evaluator.results.resize(evaluator.outputs.size());
  return evaluator;
}

static bool compareInts(uint8_t predicate, int64_t a, int64_t b) {
  uint32_t ua = uint32_t(a), ub = uint32_t(b);
  switch (arith::CmpIPredicate(predicate)) {
  case arith::CmpIPredicate::eq: return a == b;
  case arith::CmpIPredicate::ne: return a != b;
  case arith::CmpIPredicate::slt: return a < b;
  case arith::CmpIPredicate::sle: return a <= b;
  case arith::CmpIPredicate::sgt: return a > b;
  case arith::CmpIPredicate::sge: return a >= b;
  case arith::CmpIPredicate::ult: return ua < ub;
  case arith::CmpIPredicate::ule: return ua <= ub;
  case arith::CmpIPredicate::ugt: return ua > ub;
  case arith::CmpIPredicate::uge: return ua >= ub;
  }
  return false;
}

static bool compareFloats(uint8_t predicate, float a, float b) {
  bool unordered = std::isnan(a) || std::isnan(b);
  switch (arith::CmpFPredicate(predicate)) {
  case arith::CmpFPredicate::OEQ: return a == b;
  case arith::CmpFPredicate::OGT: return a > b;
  case arith::CmpFPredicate::OGE: return a >= b;
  case arith::CmpFPredicate::OLT: return a < b;
  case arith::CmpFPredicate::OLE: return a <= b;
  case arith::CmpFPredicate::ONE: return !unordered && a != b;
  case arith::CmpFPredicate::ORD: return !unordered;
  case arith::CmpFPredicate::UEQ: return unordered || a == b;
  case arith::CmpFPredicate::UGT: return unordered || a > b;
  case arith::CmpFPredicate::UGE: return unordered || a >= b;
  case arith::CmpFPredicate::ULT: return unordered || a < b;
  case arith::CmpFPredicate::ULE: return unordered || a <= b;
  case arith::CmpFPredicate::UNE: return unordered || a != b;
  case arith::CmpFPredicate::UNO: return unordered;
  case arith::CmpFPredicate::AlwaysTrue: return true;
  case arith::CmpFPredicate::AlwaysFalse: return false;
  }
  return false;
}

static int64_t floorDiv(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? quotient - 1 : quotient;
}

// Indices outside are clamped, as the language says.
double RegionEvaluator::element(const Step &step, const EvaluatorTable &table) const {
  const uint32_t slots[] = {step.a, step.b, step.c, step.d};
  int64_t at = 0;
  for (auto [extent, slot] : llvm::zip(table.extents, slots))
    at = at * extent + std::clamp<int64_t>(registers[slot].i, 0, extent - 1);
  return table.values.empty() ? 0 : table.values[at];
}

const std::vector<Scalar> &RegionEvaluator::run(llvm::ArrayRef<Scalar> args,
                                                const EvaluatorInputs &inputs) {
  std::copy(args.begin(), args.end(), registers.begin());
  auto wrap = [](int64_t v) { return int64_t(int32_t(v)); };
  for (const Step &s : steps) {
    Scalar &r = registers[s.result];
    const Scalar a = registers[s.a], b = registers[s.b], c = registers[s.c];
    switch (s.code) {
    case Code::Constant: r = s.constant; break;
    case Code::Param: r = inputs.params[s.constant.i]; break;
    case Code::Head: r.i = inputs.head; break;
    case Code::Batch: r.i = inputs.batch; break;
    case Code::Layer: r.i = inputs.layer; break;
    case Code::TableInt: r.i = int64_t(element(s, inputs.tables[s.constant.i])); break;
    case Code::TableFloat: r.f = float(element(s, inputs.tables[s.constant.i])); break;
    case Code::AddI: r.i = wrap(a.i + b.i); break;
    case Code::SubI: r.i = wrap(a.i - b.i); break;
    case Code::MulI: r.i = wrap(a.i * b.i); break;
    case Code::DivS: r.i = b.i == 0 ? 0 : wrap(a.i / b.i); break;
    case Code::DivU: r.i = uint32_t(b.i) == 0 ? 0 : wrap(uint32_t(a.i) / uint32_t(b.i)); break;
    case Code::FloorDiv: r.i = b.i == 0 ? 0 : wrap(floorDiv(a.i, b.i)); break;
    case Code::RemS: r.i = b.i == 0 ? 0 : wrap(a.i % b.i); break;
    case Code::RemU: r.i = uint32_t(b.i) == 0 ? 0 : wrap(uint32_t(a.i) % uint32_t(b.i)); break;
    case Code::And: r.i = a.i & b.i; break;
    case Code::Or: r.i = a.i | b.i; break;
    case Code::Xor: r.i = a.i ^ b.i; break;
    case Code::Shl: r.i = wrap(int64_t(uint32_t(a.i) << (b.i & 31))); break;
    case Code::ShrS: r.i = int32_t(a.i) >> (b.i & 31); break;
    case Code::ShrU: r.i = wrap(uint32_t(a.i) >> (b.i & 31)); break;
    case Code::MinS: r.i = std::min(a.i, b.i); break;
    case Code::MaxS: r.i = std::max(a.i, b.i); break;
    case Code::MinU: r.i = wrap(std::min(uint32_t(a.i), uint32_t(b.i))); break;
    case Code::MaxU: r.i = wrap(std::max(uint32_t(a.i), uint32_t(b.i))); break;
    case Code::CmpI: r.i = compareInts(s.predicate, a.i, b.i); break;
    case Code::AbsI: r.i = wrap(std::abs(a.i)); break;
    case Code::Select: r = a.i ? b : c; break;
    case Code::Trunc1: r.i = a.i & 1; break;
    case Code::ZeroExtend: r.i = a.i; break;
    case Code::AddF: r.f = a.f + b.f; break;
    case Code::SubF: r.f = a.f - b.f; break;
    case Code::MulF: r.f = a.f * b.f; break;
    case Code::DivF: r.f = a.f / b.f; break;
    case Code::NegF: r.f = -a.f; break;
    case Code::MinF: r.f = std::fmin(a.f, b.f); break;
    case Code::MaxF: r.f = std::fmax(a.f, b.f); break;
    case Code::CmpF: r.i = compareFloats(s.predicate, a.f, b.f); break;
    case Code::AbsF: r.f = std::fabs(a.f); break;
    case Code::Exp: r.f = std::exp(a.f); break;
    case Code::Exp2: r.f = std::exp2(a.f); break;
    case Code::Log: r.f = std::log(a.f); break;
    case Code::Log2: r.f = std::log2(a.f); break;
    case Code::Sqrt: r.f = std::sqrt(a.f); break;
    case Code::Tanh: r.f = std::tanh(a.f); break;
    case Code::Sin: r.f = std::sin(a.f); break;
    case Code::Cos: r.f = std::cos(a.f); break;
    case Code::Floor: r.f = std::floor(a.f); break;
    case Code::Ceil: r.f = std::ceil(a.f); break;
    case Code::Fma: r.f = std::fma(a.f, b.f, c.f); break;
    case Code::IntToFloat: r.f = float(a.i); break;
    case Code::FloatToInt: r.i = int32_t(a.f); break;
    }
  }
  for (auto [result, output] : llvm::zip(results, outputs))
    result = registers[output];
  return results;
}
