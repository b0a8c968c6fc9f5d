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
    step.operands = uint8_t(op.getNumOperands());
    step.result = registerOf[op.getResult(0)] = next++;
    (step.code == Code::Constant ? evaluator.constants : evaluator.steps).push_back(step);
  }
  for (Value value : block.getTerminator()->getOperands())
    evaluator.outputs.push_back(registerOf.lookup(value));
  evaluator.registers.resize(next);
  for (const Step &constant : evaluator.constants)
    evaluator.registers[constant.result] = constant.constant;
  evaluator.results.resize(evaluator.outputs.size());
  evaluator.planPairs();
  return evaluator;
}

LLVM_ATTRIBUTE_ALWAYS_INLINE static bool compareInts(uint8_t predicate, int64_t a, int64_t b) {
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

// What one step makes of its operands; `values` has `stride` of them for each register,
// of which `lanes` count. Inlined, as a step of one lane costs less than a call.
template <size_t stride>
LLVM_ATTRIBUTE_ALWAYS_INLINE void RegionEvaluator::execute(const Step &s, Scalar *values, size_t lanes,
                              const EvaluatorInputs &inputs) {
  if constexpr (stride == 1)
    lanes = 1;
  Scalar *r = values + s.result * stride;
  const Scalar *a = values + s.a * stride, *b = values + s.b * stride, *c = values + s.c * stride;
  auto ints = [&](auto function) __attribute__((always_inline)) {
    for (size_t i = 0; i < lanes; ++i)
      r[i].i = function(a[i].i, b[i].i);
  };
  auto floats = [&](auto function) __attribute__((always_inline)) {
    for (size_t i = 0; i < lanes; ++i)
      r[i].f = function(a[i].f, b[i].f);
  };
  auto scalars = [&](auto function) __attribute__((always_inline)) {
    for (size_t i = 0; i < lanes; ++i)
      r[i] = function(i);
  };
  auto integer = [](int64_t value) { return Scalar{.i = value}; };
  auto number = [](float value) { return Scalar{.f = value}; };
  // Indices outside are clamped, as the language says.
  auto element = [&](size_t lane) {
    const EvaluatorTable &table = inputs.tables[s.constant.i];
    const uint32_t slots[] = {s.a, s.b, s.c, s.d};
    int64_t at = 0;
    for (auto [extent, slot] : llvm::zip(table.extents, slots))
      at = at * extent + std::clamp<int64_t>(values[slot * stride + lane].i, 0, extent - 1);
    return table.values.empty() ? 0 : table.values[at];
  };
  auto wrap = [](int64_t v) { return int64_t(int32_t(v)); };
  switch (s.code) {
  case Code::Constant: break; // set once
  case Code::Param: scalars([&](size_t) { return inputs.params[s.constant.i]; }); break;
  case Code::Head: scalars([&](size_t) { return integer(inputs.head); }); break;
  case Code::Batch: scalars([&](size_t) { return integer(inputs.batch); }); break;
  case Code::Layer: scalars([&](size_t) { return integer(inputs.layer); }); break;
  case Code::TableInt: scalars([&](size_t i) { return integer(int64_t(element(i))); }); break;
  case Code::TableFloat: scalars([&](size_t i) { return number(float(element(i))); }); break;
  case Code::Select: scalars([&](size_t i) { return a[i].i ? b[i] : c[i]; }); break;
  case Code::CmpF:
    scalars([&](size_t i) { return integer(compareFloats(s.predicate, a[i].f, b[i].f)); });
    break;
  case Code::Fma: scalars([&](size_t i) { return number(std::fma(a[i].f, b[i].f, c[i].f)); }); break;
  case Code::IntToFloat: scalars([&](size_t i) { return number(float(a[i].i)); }); break;
  case Code::FloatToInt: scalars([&](size_t i) { return integer(int32_t(a[i].f)); }); break;
  case Code::AddI: ints([&](int64_t a, int64_t b) { return wrap(a + b); }); break;
  case Code::SubI: ints([&](int64_t a, int64_t b) { return wrap(a - b); }); break;
  case Code::MulI: ints([&](int64_t a, int64_t b) { return wrap(a * b); }); break;
  case Code::DivS: ints([&](int64_t a, int64_t b) { return b == 0 ? 0 : wrap(a / b); }); break;
  case Code::DivU: ints([&](int64_t a, int64_t b) { return uint32_t(b) == 0 ? 0 : wrap(uint32_t(a) / uint32_t(b)); }); break;
  case Code::FloorDiv: ints([&](int64_t a, int64_t b) { return b == 0 ? 0 : wrap(floorDiv(a, b)); }); break;
  case Code::RemS: ints([&](int64_t a, int64_t b) { return b == 0 ? 0 : wrap(a % b); }); break;
  case Code::RemU: ints([&](int64_t a, int64_t b) { return uint32_t(b) == 0 ? 0 : wrap(uint32_t(a) % uint32_t(b)); }); break;
  case Code::And: ints([](int64_t a, int64_t b) { return a & b; }); break;
  case Code::Or: ints([](int64_t a, int64_t b) { return a | b; }); break;
  case Code::Xor: ints([](int64_t a, int64_t b) { return a ^ b; }); break;
  case Code::Shl: ints([&](int64_t a, int64_t b) { return wrap(int64_t(uint32_t(a) << (b & 31))); }); break;
  case Code::ShrS: ints([](int64_t a, int64_t b) { return int32_t(a) >> (b & 31); }); break;
  case Code::ShrU: ints([&](int64_t a, int64_t b) { return wrap(uint32_t(a) >> (b & 31)); }); break;
  case Code::MinS: ints([](int64_t a, int64_t b) { return std::min(a, b); }); break;
  case Code::MaxS: ints([](int64_t a, int64_t b) { return std::max(a, b); }); break;
  case Code::MinU: ints([&](int64_t a, int64_t b) { return wrap(std::min(uint32_t(a), uint32_t(b))); }); break;
  case Code::MaxU: ints([&](int64_t a, int64_t b) { return wrap(std::max(uint32_t(a), uint32_t(b))); }); break;
  case Code::CmpI: ints([&](int64_t a, int64_t b) { return compareInts(s.predicate, a, b); }); break;
  case Code::AbsI: ints([&](int64_t a, int64_t) { return wrap(std::abs(a)); }); break;
  case Code::Trunc1: ints([](int64_t a, int64_t) { return a & 1; }); break;
  case Code::ZeroExtend: ints([](int64_t a, int64_t) { return a; }); break;
  case Code::AddF: floats([](float a, float b) { return a + b; }); break;
  case Code::SubF: floats([](float a, float b) { return a - b; }); break;
  case Code::MulF: floats([](float a, float b) { return a * b; }); break;
  case Code::DivF: floats([](float a, float b) { return a / b; }); break;
  case Code::NegF: floats([](float a, float) { return -a; }); break;
  case Code::MinF: floats([](float a, float b) { return std::fmin(a, b); }); break;
  case Code::MaxF: floats([](float a, float b) { return std::fmax(a, b); }); break;
  case Code::AbsF: floats([](float a, float) { return std::fabs(a); }); break;
  case Code::Exp: floats([](float a, float) { return std::exp(a); }); break;
  case Code::Exp2: floats([](float a, float) { return std::exp2(a); }); break;
  case Code::Log: floats([](float a, float) { return std::log(a); }); break;
  case Code::Log2: floats([](float a, float) { return std::log2(a); }); break;
  case Code::Sqrt: floats([](float a, float) { return std::sqrt(a); }); break;
  case Code::Tanh: floats([](float a, float) { return std::tanh(a); }); break;
  case Code::Sin: floats([](float a, float) { return std::sin(a); }); break;
  case Code::Cos: floats([](float a, float) { return std::cos(a); }); break;
  case Code::Floor: floats([](float a, float) { return std::floor(a); }); break;
  case Code::Ceil: floats([](float a, float) { return std::ceil(a); }); break;
  }
}

const std::vector<Scalar> &RegionEvaluator::run(llvm::ArrayRef<Scalar> args,
                                                const EvaluatorInputs &inputs) {
  std::copy(args.begin(), args.end(), registers.begin());
  for (const Step &step : steps)
    execute<1>(step, registers.data(), 1, inputs);
  for (auto [result, output] : llvm::zip(results, outputs))
    result = registers[output];
  return results;
}

// A step belongs to the queries, to the keys, to pairs of them or to neither, as what it
// reads does.
void RegionEvaluator::planPairs() {
  enum : uint8_t { neither, query, key, pair };
  std::vector<uint8_t> side(registers.size(), neither);
  if (argumentCount < 2 || outputs.empty())
    return;
  side[0] = query;
  side[1] = key;
  std::vector<bool> carried(registers.size());
  std::vector<Step> *const lists[] = {&fixedSteps, &querySteps, &keySteps, &pairSteps};
  for (const Step &step : steps) {
    const uint32_t slots[] = {step.a, step.b, step.c, step.d};
    llvm::ArrayRef<uint32_t> operands(slots, step.operands);
    for (uint32_t slot : operands)
      side[step.result] |= side[slot];
    if (side[step.result] == pair)
      for (uint32_t slot : operands)
        carried[slot] = side[slot] == query;
    lists[side[step.result]]->push_back(step);
  }
  if (side[outputs[0]] == query)
    carried[outputs[0]] = true;
  for (uint32_t slot = 0; slot < carried.size(); ++slot)
    if (carried[slot])
      rowValues.push_back({slot, {}});
  lanes.resize(registers.size() * kSide);
  for (const Step &constant : constants)
    std::fill_n(&lanes[constant.result * kSide], kSide, constant.constant);
}

int64_t RegionEvaluator::countPairs(int64_t firstQuery, size_t queries, int64_t firstKey,
                                    size_t keys, const EvaluatorInputs &inputs) {
  auto at = [&](uint32_t slot) { return &lanes[slot * kSide]; };
  const int64_t fixed[] = {inputs.head, inputs.batch};
  for (size_t i = 0; i < kSide; ++i) {
    at(0)[i].i = firstQuery + int64_t(i);
    at(1)[i].i = firstKey + int64_t(i);
    for (uint32_t slot = 2; slot < argumentCount; ++slot)
      at(slot)[i].i = fixed[slot - 2];
  }
  for (const Step &step : fixedSteps)
    execute<kSide>(step, lanes.data(), kSide, inputs);
  for (const Step &step : querySteps)
    execute<kSide>(step, lanes.data(), queries, inputs);
  for (const Step &step : keySteps)
    execute<kSide>(step, lanes.data(), keys, inputs);
  for (RowValue &value : rowValues)
    std::copy_n(at(value.slot), kSide, value.ofRows.begin());
  int64_t count = 0;
  for (size_t row = 0; row < queries; ++row) {
    for (const RowValue &value : rowValues)
      std::fill_n(at(value.slot), keys, value.ofRows[row]);
    for (const Step &step : pairSteps)
      execute<kSide>(step, lanes.data(), keys, inputs);
    for (size_t i = 0; i < keys; ++i)
      count += at(outputs[0])[i].i;
  }
  return count;
}
