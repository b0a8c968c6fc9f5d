// The tree walk. One function per type; each case is the definition of the
// operation in specs/LANGUAGE.md, written down once more.
#include "compiler/oracle/Evaluate.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attn::oracle {

using spec::Expr;
using spec::Op;
using spec::Side;
using spec::Type;

namespace {

int32_t wrap(int64_t value) { return static_cast<int32_t>(static_cast<uint32_t>(value)); }

int32_t saturate(double value) {
  if (std::isnan(value))
    return 0;
  value = std::trunc(value);
  value = std::clamp(value, double(std::numeric_limits<int32_t>::min()),
                     double(std::numeric_limits<int32_t>::max()));
  return static_cast<int32_t>(value);
}

} // namespace

int32_t floorDiv(int32_t a, int32_t b) {
  if (b == 0)
    return 0;
  int64_t quotient = int64_t(a) / b;
  if (int64_t(a) % b != 0 && (a < 0) != (b < 0))
    --quotient;
  return wrap(quotient);
}

int32_t floorMod(int32_t a, int32_t b) {
  return b == 0 ? 0 : wrap(int64_t(a) - int64_t(floorDiv(a, b)) * b);
}

double Evaluator::value(const Expr &e, const Point &p) const {
  switch (e.type) {
  case Type::Bool:
    return boolean(e, p) ? 1 : 0;
  case Type::Int:
    return integer(e, p);
  case Type::Float:
    return number(e, p);
  }
  return 0;
}

int32_t Evaluator::extent(const spec::Extent &extent, const Point &p) const {
  return extent.isStatic() ? wrap(extent.value) : integer(*extent.dynamic, p);
}

double Evaluator::gather(const Expr &e, const Point &p) const {
  const TableData &table = bindings.tables[e.index()];
  int64_t at = 0;
  for (size_t i = 0; i < e.operands.size(); ++i) {
    int64_t index = integer(*e.operands[i], p), size = table.extents[i];
    at = at * size + std::clamp<int64_t>(index, 0, size - 1);
  }
  return table.values[static_cast<size_t>(at)];
}

double Evaluator::input(const Expr &e, const Point &p) const {
  const InputData &data = bindings.inputs[e.index()];
  auto pick = [](int64_t index, int64_t size) { return size == 1 ? 0 : index; };
  int64_t at = pick(p.batch, data.batch);
  at = at * data.rows + pick(p.row, data.rows);
  at = at * data.heads + pick(p.head, data.heads);
  at = at * data.dims + pick(p.dim, data.dims);
  return data.values[static_cast<size_t>(at)];
}

bool Evaluator::boolean(const Expr &e, const Point &p) const {
  const auto &x = e.operands;
  switch (e.op) {
  case Op::BoolConstant:
    return e.boolValue();
  case Op::Not:
    return !boolean(*x[0], p);
  case Op::And:
    return boolean(*x[0], p) && boolean(*x[1], p);
  case Op::Or:
    return boolean(*x[0], p) || boolean(*x[1], p);
  case Op::Select:
    return boolean(*x[0], p) ? boolean(*x[1], p) : boolean(*x[2], p);
  case Op::Pattern:
    return boolean(*x[0], p);
  default:
    break;
  }
  double a = value(*x[0], p), b = value(*x[1], p);
  switch (e.op) {
  case Op::Equal:
    return a == b;
  case Op::NotEqual:
    return a != b;
  case Op::Less:
    return a < b;
  case Op::LessEqual:
    return a <= b;
  case Op::Greater:
    return a > b;
  default:
    return a >= b;
  }
}

int32_t Evaluator::integer(const Expr &e, const Point &p) const {
  const auto &x = e.operands;
  switch (e.op) {
  case Op::IntConstant:
    return static_cast<int32_t>(e.intValue());
  case Op::Position:
    return e.side() == Side::Query ? p.queryPosition : p.keyPosition;
  case Op::Coordinate: {
    if (!x.empty())
      return integer(*x[0], p);
    const spec::CoordinateRef &ref = e.coordinate();
    int32_t position = ref.side == Side::Query ? p.queryPosition : p.keyPosition;
    int32_t base = extent(ref.decode.base, p), modulus = extent(ref.decode.modulus, p);
    int32_t quotient = floorDiv(wrap(int64_t(position) - base), extent(ref.decode.divisor, p));
    bool wraps = !ref.decode.modulus.isStatic() || ref.decode.modulus.value != 0;
    return wraps ? floorMod(quotient, modulus) : quotient;
  }
  case Op::Head:
    return p.head;
  case Op::Batch:
    return p.batch;
  case Op::Layer:
    return bindings.layer;
  case Op::Heads:
    return bindings.heads;
  case Op::KvHeads:
    return bindings.kvHeads;
  case Op::Param:
    return saturate(bindings.params[e.index()]);
  case Op::Gather:
    return saturate(gather(e, p));
  case Op::Negate:
    return wrap(-int64_t(integer(*x[0], p)));
  case Op::Abs:
    return wrap(std::abs(int64_t(integer(*x[0], p))));
  case Op::BitNot:
    return ~integer(*x[0], p);
  case Op::ToInt:
    return saturate(number(*x[0], p));
  case Op::BoolToInt:
    return boolean(*x[0], p) ? 1 : 0;
  case Op::Select:
    return boolean(*x[0], p) ? integer(*x[1], p) : integer(*x[2], p);
  case Op::Pattern:
    return integer(*x[0], p);
  default:
    break;
  }
  int32_t a = integer(*x[0], p), b = integer(*x[1], p);
  switch (e.op) {
  case Op::Add:
    return wrap(int64_t(a) + b);
  case Op::Subtract:
    return wrap(int64_t(a) - b);
  case Op::Multiply:
    return wrap(int64_t(a) * b);
  case Op::FloorDiv:
    return floorDiv(a, b);
  case Op::Mod:
    return floorMod(a, b);
  case Op::BitAnd:
    return a & b;
  case Op::BitOr:
    return a | b;
  case Op::BitXor:
    return a ^ b;
  case Op::ShiftLeft:
    return wrap(int64_t(uint64_t(int64_t(a)) << (b & 31)));
  case Op::ShiftRight:
    return a >> (b & 31);
  case Op::Min:
    return std::min(a, b);
  default:
    return std::max(a, b);
  }
}

double Evaluator::number(const Expr &e, const Point &p) const {
  const auto &x = e.operands;
  switch (e.op) {
  case Op::FloatConstant:
    return e.floatValue();
  case Op::Param:
    return bindings.params[e.index()];
  case Op::Score:
    return p.score;
  case Op::OutputValue:
    return p.output;
  case Op::LogSumExp:
    return p.logSumExp;
  case Op::InputValue:
    return input(e, p);
  case Op::Gather:
    return gather(e, p);
  case Op::ToFloat:
    return integer(*x[0], p);
  case Op::Select:
    return boolean(*x[0], p) ? number(*x[1], p) : number(*x[2], p);
  case Op::Pattern:
    return number(*x[0], p);
  default:
    break;
  }
  double a = number(*x[0], p);
  switch (e.op) {
  case Op::Negate:
    return -a;
  case Op::Abs:
    return std::fabs(a);
  case Op::Exp:
    return std::exp(a);
  case Op::Exp2:
    return std::exp2(a);
  case Op::Log:
    return std::log(a);
  case Op::Log2:
    return std::log2(a);
  case Op::Sqrt:
    return std::sqrt(a);
  case Op::Tanh:
    return std::tanh(a);
  case Op::Sin:
    return std::sin(a);
  case Op::Cos:
    return std::cos(a);
  case Op::Sigmoid:
    return 1 / (1 + std::exp(-a));
  case Op::Floor:
    return std::floor(a);
  case Op::Ceil:
    return std::ceil(a);
  default:
    break;
  }
  double b = number(*x[1], p);
  switch (e.op) {
  case Op::Add:
    return a + b;
  case Op::Subtract:
    return a - b;
  case Op::Multiply:
    return a * b;
  case Op::Div:
    return a / b;
  case Op::Min:
    return std::fmin(a, b);
  default:
    return std::fmax(a, b);
  }
}

} // namespace attn::oracle
