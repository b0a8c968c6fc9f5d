// Interval arithmetic with one symbolic block number. Doubles hold 32-bit
// integers exactly, and infinities stand for "not bounded".
#include "compiler/spec/Bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attn::spec {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Bounds unknown{0, -infinity, infinity};
constexpr Bounds unknownBool{0, 0, 1};

// 0 * inf is 0 here: an empty slope times an unbounded block is nothing.
double times(double a, double b) { return a == 0 || b == 0 ? 0 : a * b; }

Bounds constant(double value) { return {0, value, value}; }
Bounds truth(bool value) { return constant(value ? 1 : 0); }

class Evaluator {
public:
  explicit Evaluator(const BoundsEnvironment &environment) : env(environment) {}

  Bounds eval(const Expr &e) {
    switch (e.op) {
    case Op::BoolConstant:
      return truth(e.boolValue());
    case Op::IntConstant:
      return constant(static_cast<double>(e.intValue()));
    case Op::FloatConstant:
      return constant(e.floatValue());
    case Op::Coordinate:
      return coordinate(e.coordinate());
    case Op::Param: {
      const std::optional<QueryBlock> &call = env.spec->queryBlock;
      if (call && call->from == e.index() && env.space != UINT32_MAX)
        return {1, env.minDistance, env.maxDistance};
      const ParamInfo &param = env.spec->params[e.index()];
      return {0, param.minimum, param.maximum};
    }
    case Op::Head:
      return {0, 0, env.spec->heads ? static_cast<double>(env.spec->heads - 1) : infinity};
    case Op::Batch:
      return env.batch ? constant(*env.batch) : Bounds{0, 0, infinity};
    case Op::Layer:
      return {0, 0, infinity};
    case Op::Heads:
    case Op::KvHeads:
      return {0, 1, infinity};
    case Op::Position:
      return position(e.side());
    case Op::Pattern:
    case Op::ToFloat:
    case Op::BoolToInt:
      return eval(*e.operands[0]);
    case Op::Select:
      return select(e);
    case Op::Gather:
    case Op::Score:
    case Op::OutputValue:
    case Op::LogSumExp:
    case Op::InputValue:
      return unknown;
    default:
      break;
    }
    Bounds a = eval(*e.operands[0]);
    if (e.operands.size() == 1)
      return e.type == Type::Bool ? Bounds{0, 1 - a.high, 1 - a.low} : unary(e.op, a);
    return binary(e.op, a, eval(*e.operands[1]));
  }

private:
  // The same values without a slope.
  Bounds flat(Bounds a) const {
    if (a.slope == 0)
      return a;
    double first = times(a.slope, env.firstBlock), last = times(a.slope, env.lastBlock);
    return checked({0, a.low + std::min(first, last), a.high + std::max(first, last)});
  }

  Bounds block(Side side, double scale) const {
    Bounds result{scale, 0, scale - 1};
    if (side == Side::Query) {
      result.low += times(scale, env.minDistance);
      result.high += times(scale, env.maxDistance + env.callBlocks - 1);
    }
    return result;
  }

  Bounds coordinate(const CoordinateRef &ref) const {
    const SpaceInfo &space = env.spec->spaces[ref.space];
    if (ref.axis == 0 && ref.space == env.space)
      return block(ref.side, env.perBlock);
    if (ref.axis == 0)
      return unknown;
    return {0, 0, largest(space.axes[ref.axis].extent) - 1};
  }

  double largest(const Extent &extent) const {
    if (extent.isStatic())
      return extent.value > 0 ? static_cast<double>(extent.value) : infinity;
    return Evaluator(env).eval(*extent.dynamic).high;
  }

  Bounds position(Side side) const {
    if (env.space == UINT32_MAX)
      return {0, 0, infinity};
    double tokens = env.perBlock;
    const auto &axes = env.spec->spaces[env.space].axes;
    for (size_t i = 1; i < axes.size(); ++i) {
      if (!axes[i].extent.isStatic())
        return unknown;
      tokens *= static_cast<double>(axes[i].extent.value);
    }
    return block(side, tokens);
  }

  Bounds select(const Expr &e) {
    Bounds condition = eval(*e.operands[0]);
    if (condition.isTrue())
      return eval(*e.operands[1]);
    if (condition.isFalse())
      return eval(*e.operands[2]);
    Bounds a = eval(*e.operands[1]), b = eval(*e.operands[2]);
    if (a.slope != b.slope) {
      a = flat(a);
      b = flat(b);
    }
    return {a.slope, std::min(a.low, b.low), std::max(a.high, b.high)};
  }

  Bounds unary(Op op, Bounds a) const {
    auto monotone = [&](double (*f)(double)) {
      Bounds x = flat(a);
      double low = f(x.low), high = f(x.high);
      return std::isnan(low) || std::isnan(high) ? unknown : Bounds{0, low, high};
    };
    switch (op) {
    case Op::Negate:
      return {-a.slope, -a.high, -a.low};
    case Op::Abs: {
      Bounds x = flat(a);
      if (x.low >= 0)
        return x;
      if (x.high <= 0)
        return {0, -x.high, -x.low};
      return {0, 0, std::max(-x.low, x.high)};
    }
    case Op::Floor:
      return monotone(std::floor);
    case Op::Ceil:
      return monotone(std::ceil);
    case Op::ToInt:
      return monotone(std::trunc);
    case Op::BitNot:
      return {-a.slope, -a.high - 1, -a.low - 1};
    case Op::Exp:
      return monotone(std::exp);
    case Op::Exp2:
      return monotone(std::exp2);
    case Op::Sqrt:
      return monotone(std::sqrt);
    case Op::Tanh:
      return monotone(std::tanh);
    case Op::Sin:
    case Op::Cos:
      return {0, -1, 1};
    case Op::Sigmoid:
      return {0, 0, 1};
    default:
      return unknown;
    }
  }

  Bounds binary(Op op, Bounds a, Bounds b) const {
    switch (op) {
    case Op::And:
      return {0, std::min(a.low, b.low), std::min(a.high, b.high)};
    case Op::Or:
      return {0, std::max(a.low, b.low), std::max(a.high, b.high)};
    case Op::Add:
      return checked({a.slope + b.slope, a.low + b.low, a.high + b.high});
    case Op::Subtract:
      return checked({a.slope - b.slope, a.low - b.high, a.high - b.low});
    case Op::Multiply:
      return multiply(a, b);
    case Op::Div:
    case Op::FloorDiv:
      return divide(op, a, b);
    case Op::Mod:
      return modulo(a, b);
    case Op::Min:
    case Op::Max: {
      if (a.slope != b.slope) {
        a = flat(a);
        b = flat(b);
      }
      return op == Op::Min ? Bounds{a.slope, std::min(a.low, b.low), std::min(a.high, b.high)}
                           : Bounds{a.slope, std::max(a.low, b.low), std::max(a.high, b.high)};
    }
    case Op::BitAnd: {
      Bounds y = flat(b);
      return y.low >= 0 ? Bounds{0, 0, y.high} : unknown;
    }
    case Op::BitOr:
    case Op::BitXor:
    case Op::ShiftLeft:
    case Op::ShiftRight:
      return unknown;
    default:
      return compare(op, flat(binary(Op::Subtract, a, b)));
    }
  }

  static Bounds checked(Bounds a) { return std::isnan(a.low) || std::isnan(a.high) ? unknown : a; }

  Bounds multiply(Bounds a, Bounds b) const {
    if (a.slope == 0 && a.low == a.high)
      std::swap(a, b);
    if (b.slope == 0 && b.low == b.high) {
      double x = times(a.low, b.low), y = times(a.high, b.low);
      return {times(a.slope, b.low), std::min(x, y), std::max(x, y)};
    }
    a = flat(a);
    b = flat(b);
    double p[] = {times(a.low, b.low), times(a.low, b.high), times(a.high, b.low),
                  times(a.high, b.high)};
    return {0, *std::min_element(p, p + 4), *std::max_element(p, p + 4)};
  }

  Bounds divide(Op op, Bounds a, Bounds b) const {
    if (b.slope != 0 || b.low != b.high || b.low <= 0) {
      // A divisor that varies: only the sign and the size are known.
      a = flat(a);
      b = flat(b);
      if (b.low < 1)
        return unknown;
      double p[] = {a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high};
      for (double x : p)
        if (std::isnan(x))
          return unknown;
      double low = *std::min_element(p, p + 4), high = *std::max_element(p, p + 4);
      return op == Op::Div ? Bounds{0, low, high} : Bounds{0, std::floor(low), std::floor(high)};
    }
    double divisor = b.low;
    if (op == Op::Div)
      return {a.slope / divisor, a.low / divisor, a.high / divisor};
    if (std::fmod(a.slope, divisor) == 0)
      return {a.slope / divisor, std::floor(a.low / divisor), std::floor(a.high / divisor)};
    if (env.firstBlock == env.lastBlock) {
      a = flat(a);
      return {0, std::floor(a.low / divisor), std::floor(a.high / divisor)};
    }
    // floor(x / n) lies in (x - n + 1) / n .. x / n, so that B still cancels;
    // the margin covers the rounding of the quotients.
    double low = (a.low - divisor + 1) / divisor, high = a.high / divisor;
    return {a.slope / divisor, low - 1e-9 * std::max(1.0, std::fabs(low)),
            high + 1e-9 * std::max(1.0, std::fabs(high))};
  }

  Bounds modulo(Bounds a, Bounds b) const {
    b = flat(b);
    if (b.low < 1)
      return unknown;
    if (b.low == b.high) {
      double m = b.low;
      if (std::fmod(a.slope, m) == 0)
        a.slope = 0; // multiples of m vanish
      a = flat(a);
      double base = std::floor(a.low / m) * m;
      if (std::isfinite(a.low) && a.high < base + m)
        return {0, a.low - base, a.high - base};
    }
    return {0, 0, b.high - 1};
  }

  static Bounds compare(Op op, Bounds difference) {
    double low = difference.low, high = difference.high;
    auto decide = [](bool yes, bool no) {
      return yes ? truth(true) : no ? truth(false) : unknownBool;
    };
    switch (op) {
    case Op::Less:
      return decide(high < 0, low >= 0);
    case Op::LessEqual:
      return decide(high <= 0, low > 0);
    case Op::Greater:
      return decide(low > 0, high <= 0);
    case Op::GreaterEqual:
      return decide(low >= 0, high < 0);
    case Op::Equal:
      return decide(low == 0 && high == 0, low > 0 || high < 0);
    default:
      return decide(low > 0 || high < 0, low == 0 && high == 0);
    }
  }

  const BoundsEnvironment &env;
};

} // namespace

Bounds boundsOf(const Expr &expr, const BoundsEnvironment &environment) {
  return Evaluator(environment).eval(expr);
}

} // namespace attn::spec
