// Type rules and constant folding of the expression language. Folding keeps
// the run-time meaning, except that a constant that overflows is an error.
#include "compiler/spec/ExprBuilder.h"

#include "compiler/spec/Lexer.h"

#include <cmath>
#include <limits>

namespace attn::spec {
namespace {

bool isConstant(const ExprPtr &expr) {
  return expr->op == Op::BoolConstant || expr->op == Op::IntConstant ||
         expr->op == Op::FloatConstant;
}

bool isComparison(Op op) { return op >= Op::Equal && op <= Op::GreaterEqual; }

bool isIntOnly(Op op) {
  return op == Op::FloorDiv || op == Op::Mod || (op >= Op::BitAnd && op <= Op::ShiftRight);
}

// x + 0, x * 1 and the like: patterns with defaults make many of them.
ExprPtr withoutNeutral(Op op, const ExprPtr &a, const ExprPtr &b) {
  std::optional<int64_t> x = constantInt(a), y = constantInt(b);
  if ((op == Op::Add || op == Op::Subtract) && y == 0)
    return a;
  if ((op == Op::Multiply || op == Op::FloorDiv) && y == 1)
    return a;
  if ((op == Op::Add && x == 0) || (op == Op::Multiply && x == 1))
    return b;
  return nullptr;
}

template <typename Number> bool compare(Op op, Number a, Number b) {
  switch (op) {
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

} // namespace

std::string describe(Type type) {
  switch (type) {
  case Type::Bool:
    return "a boolean";
  case Type::Int:
    return "an integer";
  case Type::Float:
    return "a number";
  }
  return "";
}

ExprPtr ExprBuilder::boolean(bool value, SourceRange range) {
  return leaf(Op::BoolConstant, Type::Bool, range, value);
}

ExprPtr ExprBuilder::integer(int64_t value, SourceRange range) {
  if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
    report(DiagnosticId::number_c1, range,
           {std::to_string(value) + (value >= Token::kSaturated ? " or more" : "")});
    return nullptr;
  }
  return leaf(Op::IntConstant, Type::Int, range, value);
}

ExprPtr ExprBuilder::real(double value, SourceRange range) {
  if (!std::isfinite(value)) {
    report(DiagnosticId::number_c4, range, {});
    return nullptr;
  }
  return leaf(Op::FloatConstant, Type::Float, range, value);
}

ExprPtr ExprBuilder::leaf(Op op, Type type, SourceRange range) {
  return leaf(op, type, range, std::monostate{});
}

ExprPtr ExprBuilder::node(Op op, Type type, std::vector<ExprPtr> operands, SourceRange range) {
  auto expr = std::make_shared<Expr>();
  expr->op = op;
  expr->type = type;
  expr->range = range;
  uint64_t size = 1;
  for (const ExprPtr &operand : operands) {
    size += operand->treeSize;
    expr->depth = std::max(expr->depth, operand->depth + 1);
  }
  if (size > maxTreeSize || expr->depth > maxTreeDepth) {
    reportTooLarge(range);
    return nullptr;
  }
  expr->treeSize = static_cast<uint32_t>(size);
  expr->operands = std::move(operands);
  return expr;
}

void ExprBuilder::reportTooLarge(SourceRange range) {
  if (!reportedSize)
    report(DiagnosticId::expr_c2, range, {std::to_string(maxTreeSize)});
  reportedSize = true;
}

ExprPtr ExprBuilder::require(ExprPtr expr, Type type, std::string_view what) {
  if (!expr || expr->type == type)
    return expr;
  if (type == Type::Float && expr->type == Type::Int)
    return toFloat(expr);
  report(DiagnosticId::expr_c1, expr->range,
         {std::string(what), describe(type), describe(expr->type)});
  return nullptr;
}

ExprPtr ExprBuilder::toFloat(ExprPtr expr) {
  if (!expr || expr->type == Type::Float)
    return expr;
  if (expr->op == Op::IntConstant)
    return real(static_cast<double>(expr->intValue()), expr->range);
  return node(Op::ToFloat, Type::Float, {expr}, expr->range);
}

ExprPtr ExprBuilder::unary(Op op, ExprPtr operand, SourceRange range, std::string_view what) {
  if (!operand)
    return nullptr;
  Type result = Type::Float;
  switch (op) {
  case Op::Not:
    operand = require(operand, Type::Bool, what);
    result = Type::Bool;
    break;
  case Op::BoolToInt:
    operand = require(operand, Type::Bool, what);
    result = Type::Int;
    break;
  case Op::BitNot:
    operand = require(operand, Type::Int, what);
    result = Type::Int;
    break;
  case Op::ToInt:
    operand = require(operand, Type::Float, what);
    result = Type::Int;
    break;
  case Op::Negate:
  case Op::Abs:
    if (operand->type == Type::Bool)
      operand = require(operand, Type::Float, what);
    result = operand ? operand->type : Type::Int;
    break;
  default:
    operand = require(operand, Type::Float, what);
  }
  if (!operand)
    return nullptr;
  if (isConstant(operand))
    return fold(op, operand, range);
  return node(op, result, {operand}, range);
}

ExprPtr ExprBuilder::fold(Op op, const ExprPtr &a, SourceRange range) {
  if (op == Op::Not)
    return boolean(!a->boolValue(), range);
  if (op == Op::BoolToInt)
    return integer(a->boolValue() ? 1 : 0, range);
  if (a->type == Type::Int) {
    int64_t value = a->intValue();
    if (op == Op::BitNot)
      return integer(~value, range);
    return integer(op == Op::Abs && value >= 0 ? value : -value, range);
  }
  double x = a->floatValue();
  switch (op) {
  case Op::Negate:
    return real(-x, range);
  case Op::Abs:
    return real(std::fabs(x), range);
  case Op::Exp:
    return real(std::exp(x), range);
  case Op::Exp2:
    return real(std::exp2(x), range);
  case Op::Log:
    return real(std::log(x), range);
  case Op::Log2:
    return real(std::log2(x), range);
  case Op::Sqrt:
    return real(std::sqrt(x), range);
  case Op::Tanh:
    return real(std::tanh(x), range);
  case Op::Sin:
    return real(std::sin(x), range);
  case Op::Cos:
    return real(std::cos(x), range);
  case Op::Sigmoid:
    return real(1 / (1 + std::exp(-x)), range);
  case Op::Floor:
    return real(std::floor(x), range);
  case Op::Ceil:
    return real(std::ceil(x), range);
  default: // ToInt
    if (std::fabs(x) > 4e9)
      x = std::copysign(4e9, x); // still out of range: reported as such
    return integer(static_cast<int64_t>(std::trunc(x)), range);
  }
}

ExprPtr ExprBuilder::binary(Op op, ExprPtr lhs, ExprPtr rhs, SourceRange range,
                            std::string_view what) {
  if (!lhs || !rhs)
    return nullptr;
  Type operandType = Type::Float;
  if (op == Op::And || op == Op::Or)
    operandType = Type::Bool;
  else if (isIntOnly(op))
    operandType = Type::Int;
  else if (op != Op::Div && lhs->type == Type::Int && rhs->type == Type::Int)
    operandType = Type::Int;
  lhs = require(lhs, operandType, what);
  rhs = require(rhs, operandType, what);
  if (!lhs || !rhs)
    return nullptr;
  if (operandType == Type::Bool) {
    ExprPtr result = logical(op, lhs, rhs);
    if (result && result != lhs && result != rhs) {
      auto copy = std::make_shared<Expr>(*result);
      copy->range = range;
      return copy;
    }
    return result;
  }
  bool divides = op == Op::Div || op == Op::FloorDiv || op == Op::Mod;
  bool zero = (rhs->op == Op::IntConstant && rhs->intValue() == 0) ||
              (rhs->op == Op::FloatConstant && rhs->floatValue() == 0);
  if (divides && zero) {
    report(DiagnosticId::number_c2, rhs->range,
           {op == Op::Mod ? "remainder of a division" : "division"});
    return nullptr;
  }
  if (isConstant(lhs) && isConstant(rhs))
    return fold(op, lhs, rhs, range);
  if (ExprPtr same = withoutNeutral(op, lhs, rhs))
    return same;
  if (op == Op::Mod && constantInt(rhs) == 1)
    return integer(0, range);
  return node(op, isComparison(op) ? Type::Bool : operandType, {lhs, rhs}, range);
}

ExprPtr ExprBuilder::fold(Op op, const ExprPtr &a, const ExprPtr &b, SourceRange range) {
  if (a->type == Type::Float) {
    double x = a->floatValue(), y = b->floatValue();
    if (isComparison(op))
      return boolean(compare(op, x, y), range);
    switch (op) {
    case Op::Add:
      return real(x + y, range);
    case Op::Subtract:
      return real(x - y, range);
    case Op::Multiply:
      return real(x * y, range);
    case Op::Div:
      return real(x / y, range);
    case Op::Min:
      return real(std::fmin(x, y), range);
    default:
      return real(std::fmax(x, y), range);
    }
  }
  int64_t x = a->intValue(), y = b->intValue();
  if (isComparison(op))
    return boolean(compare(op, x, y), range);
  int64_t quotient = y != 0 ? x / y - ((x % y != 0 && (x < 0) != (y < 0)) ? 1 : 0) : 0;
  switch (op) {
  case Op::Add:
    return integer(x + y, range);
  case Op::Subtract:
    return integer(x - y, range);
  case Op::Multiply:
    return integer(x * y, range);
  case Op::FloorDiv:
    return integer(quotient, range);
  case Op::Mod:
    return integer(x - quotient * y, range);
  case Op::BitAnd:
    return integer(x & y, range);
  case Op::BitOr:
    return integer(x | y, range);
  case Op::BitXor:
    return integer(x ^ y, range);
  case Op::ShiftLeft:
    return integer(x * (int64_t(1) << (y & 31)), range);
  case Op::ShiftRight:
    return integer(x >> (y & 31), range);
  case Op::Min:
    return integer(std::min(x, y), range);
  default:
    return integer(std::max(x, y), range);
  }
}

ExprPtr ExprBuilder::logical(Op op, ExprPtr a, ExprPtr b) {
  if (!a || !b)
    return nullptr;
  bool absorbing = op == Op::Or;
  if (a->op == Op::BoolConstant)
    return a->boolValue() == absorbing ? a : b;
  if (b->op == Op::BoolConstant)
    return b->boolValue() == absorbing ? b : a;
  return node(op, Type::Bool, {a, b}, join(a->range, b->range));
}

ExprPtr ExprBuilder::select(ExprPtr condition, ExprPtr then, ExprPtr otherwise, SourceRange range) {
  condition = require(condition, Type::Bool, "`if`");
  if (!condition || !then || !otherwise)
    return nullptr;
  if (then->type != otherwise->type) {
    Type type =
        then->type == Type::Bool || otherwise->type == Type::Bool ? Type::Bool : Type::Float;
    then = require(then, type, "a branch of `if`");
    otherwise = require(otherwise, type, "a branch of `if`");
    if (!then || !otherwise)
      return nullptr;
  }
  if (condition->op == Op::BoolConstant)
    return condition->boolValue() ? then : otherwise;
  return node(Op::Select, then->type, {condition, then, otherwise}, range);
}

ExprPtr ExprBuilder::gather(uint32_t table, Type type, std::vector<ExprPtr> indices,
                            SourceRange range) {
  for (ExprPtr &index : indices)
    if (!(index = require(index, Type::Int, "a table index")))
      return nullptr;
  ExprPtr result = node(Op::Gather, type, std::move(indices), range);
  if (!result)
    return nullptr;
  auto withTable = std::make_shared<Expr>(*result);
  withTable->payload = table;
  return withTable;
}

ExprPtr ExprBuilder::pattern(PatternCall call, ExprPtr expansion, SourceRange range) {
  if (!expansion || expansion->op == Op::BoolConstant)
    return expansion;
  ExprPtr result = node(Op::Pattern, expansion->type, {expansion}, range);
  if (!result)
    return nullptr;
  auto withCall = std::make_shared<Expr>(*result);
  withCall->payload = std::move(call);
  return withCall;
}

} // namespace attn::spec
