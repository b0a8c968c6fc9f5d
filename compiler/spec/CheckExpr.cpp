// Expressions: names to leaves, operators to typed nodes. Which names an
// expression may use follows from the place where it stands.
#include "compiler/spec/Bounds.h"
#include "compiler/spec/Checker.h"

#include <algorithm>

namespace attn::spec {
namespace {

constexpr int64_t maxReduction = 64;
constexpr unsigned maxResolveDepth = 600;

struct BinaryName {
  Op op;
  const char *text;
};
BinaryName binaryName(ast::BinaryOp op) {
  using B = ast::BinaryOp;
  switch (op) {
  case B::Or:
    return {Op::Or, "`or`"};
  case B::And:
    return {Op::And, "`and`"};
  case B::Equal:
    return {Op::Equal, "`==`"};
  case B::NotEqual:
    return {Op::NotEqual, "`!=`"};
  case B::Less:
    return {Op::Less, "`<`"};
  case B::LessEqual:
    return {Op::LessEqual, "`<=`"};
  case B::Greater:
    return {Op::Greater, "`>`"};
  case B::GreaterEqual:
    return {Op::GreaterEqual, "`>=`"};
  case B::BitOr:
    return {Op::BitOr, "`|`"};
  case B::BitXor:
    return {Op::BitXor, "`^`"};
  case B::BitAnd:
    return {Op::BitAnd, "`&`"};
  case B::ShiftLeft:
    return {Op::ShiftLeft, "`<<`"};
  case B::ShiftRight:
    return {Op::ShiftRight, "`>>`"};
  case B::Add:
    return {Op::Add, "`+`"};
  case B::Subtract:
    return {Op::Subtract, "`-`"};
  case B::Multiply:
    return {Op::Multiply, "`*`"};
  case B::FloorDiv:
    return {Op::FloorDiv, "`//`"};
  case B::Div:
    return {Op::Div, "`/`"};
  case B::Mod:
    return {Op::Mod, "`%`"};
  }
  return {Op::Add, ""};
}

const char *placeName(Place place) {
  switch (place) {
  case Place::Const:
    return "a constant";
  case Place::Extent:
    return "an extent";
  case Place::Axis:
    return "an axis";
  case Place::Mask:
    return "a mask";
  case Place::Score:
    return "a score";
  case Place::Softmax:
    return "a sink logit";
  case Place::Output:
    return "an output expression";
  case Place::Let:
    return "a let";
  }
  return "";
}

size_t distance(const std::string &a, const std::string &b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t corner = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t up = row[j];
      row[j] = std::min({up + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1])});
      corner = up;
    }
  }
  return row[b.size()];
}

} // namespace

std::string listOf(const std::vector<std::string> &words) {
  std::string result;
  for (size_t i = 0; i < words.size(); ++i)
    result += (i == 0 ? "" : i + 1 == words.size() ? " or " : ", ") + words[i];
  return result.empty() ? "none" : result;
}

std::string suggestion(const std::string &word, const std::vector<std::string> &candidates) {
  if (word.size() > 40)
    return "";
  size_t best = (word.size() + 1) / 3 + 1; // one more than the edits allowed
  std::string found;
  for (const std::string &candidate : candidates)
    if (size_t d = distance(word, candidate); d < best && d < candidate.size()) {
      best = d;
      found = candidate;
    }
  return found.empty() ? "" : "; did you mean `" + found + "`";
}

ExprPtr Checker::resolveAt(Place where, const ast::Expr &expr) {
  Place before = place;
  place = where;
  ExprPtr result = resolve(expr);
  place = before;
  return result;
}

ExprPtr Checker::resolve(const ast::Expr &expr) {
  // Lets, axes and patterns refer to each other, so the parser's bound on one
  // expression does not bound this recursion.
  if (resolveDepth >= maxResolveDepth) {
    reportTooLarge(expr.range);
    return nullptr;
  }
  ++resolveDepth;
  ExprPtr result = resolveNode(expr);
  --resolveDepth;
  return result;
}

// Over all values of the params and coordinates; what is large is not looked into.
bool Checker::isAlwaysZero(const Expr &expr) const {
  constexpr uint32_t small = 200;
  if (expr.type == Type::Bool || expr.treeSize > small)
    return false;
  BoundsEnvironment environment;
  environment.spec = &spec;
  Bounds bounds = boundsOf(expr, environment);
  return bounds.slope == 0 && bounds.low == 0 && bounds.high == 0;
}

ExprPtr Checker::resolveNode(const ast::Expr &expr) {
  SourceRange range = expr.range;
  if (auto *n = std::get_if<ast::IntLiteral>(&expr.node))
    return integer(n->value, range);
  if (auto *n = std::get_if<ast::FloatLiteral>(&expr.node))
    return real(n->value, range);
  if (auto *n = std::get_if<ast::BoolLiteral>(&expr.node))
    return boolean(n->value, range);
  if (auto *n = std::get_if<ast::Reference>(&expr.node))
    return resolveReference(*n, range);
  if (auto *n = std::get_if<ast::Unary>(&expr.node)) {
    // -2147483648 is a number although 2147483648 is not.
    if (auto *literal = std::get_if<ast::IntLiteral>(&n->operand->node);
        literal && n->op == ast::UnaryOp::Negate)
      return integer(-literal->value, range);
    ExprPtr operand = resolve(*n->operand);
    switch (n->op) {
    case ast::UnaryOp::Not:
      return unary(Op::Not, operand, range, "`not`");
    case ast::UnaryOp::Negate:
      return unary(Op::Negate, operand, range, "`-`");
    case ast::UnaryOp::BitNot:
      return unary(Op::BitNot, operand, range, "`~`");
    }
  }
  if (auto *n = std::get_if<ast::Binary>(&expr.node)) {
    ExprPtr lhs = resolve(*n->lhs), rhs = resolve(*n->rhs);
    BinaryName op = binaryName(n->op);
    bool divides = op.op == Op::FloorDiv || op.op == Op::Div || op.op == Op::Mod;
    if (divides && rhs && isAlwaysZero(*rhs)) {
      report(DiagnosticId::number_c2, n->rhs->range,
             {op.op == Op::Mod ? "remainder of a division" : "division"});
      return nullptr;
    }
    return binary(op.op, lhs, rhs, range, op.text);
  }
  if (auto *n = std::get_if<ast::Conditional>(&expr.node)) {
    ExprPtr condition = resolve(*n->condition);
    ExprPtr then = resolve(*n->then), otherwise = resolve(*n->otherwise);
    return select(condition, then, otherwise, range);
  }
  if (auto *n = std::get_if<ast::Index>(&expr.node))
    return resolveIndex(*n, range);
  if (auto *n = std::get_if<ast::Reduction>(&expr.node))
    return resolveReduction(*n, range);
  return resolveCall(std::get<ast::Call>(expr.node), range);
}

bool Checker::allowed(std::string_view name, SourceRange range, bool permitted,
                      std::string_view remedy) {
  if (permitted)
    return true;
  std::string quoted = "`" + std::string(name) + "`";
  if (place == Place::Const)
    report(DiagnosticId::number_c3, range, {quoted});
  else if (place == Place::Softmax)
    report(DiagnosticId::softmax_c1, range, {quoted});
  else
    report(DiagnosticId::name_c4, range, {quoted, placeName(place), std::string(remedy)});
  return false;
}

ExprPtr Checker::resolveReference(const ast::Reference &reference, SourceRange range) {
  const std::vector<ast::Name> &path = reference.path;
  if (path.size() == 1)
    return resolveName(path[0]);
  if (place == Place::Axis)
    return derivationLeaf(path, range);
  bool query = path[0].text == "q", key = path[0].text == "k";
  if ((!query && !key) || path.size() > 3) {
    std::string written = path[0].text;
    for (size_t i = 1; i < path.size(); ++i)
      written += "." + path[i].text;
    bool space = spaceIndex(path[0].text) >= 0 && path.size() == 2;
    report(DiagnosticId::name_c3, range,
           {"name `" + written + "`", space ? "; write q." + written + " or k." + written : ""});
    return nullptr;
  }
  std::string written = (query ? "q." : "k.") + path[1].text;
  bool pairwise = place == Place::Mask || place == Place::Score || place == Place::Let;
  if (!allowed(written, range, pairwise || (query && place == Place::Output),
               place == Place::Output ? "it may use q axes, o, lse, inputs and head"
                                      : "only masks and scores see query and key"))
    return nullptr;
  return axisValue(query ? Side::Query : Side::Key, {path.begin() + 1, path.end()}, range);
}

ExprPtr Checker::resolveName(const ast::Name &name) {
  for (const Scope *s = scope; s; s = s->parent) {
    if (auto value = s->values.find(name.text); value != s->values.end())
      return value->second;
    if (s->axes.count(name.text)) {
      report(DiagnosticId::expr_c5, name.range, {name.text});
      return nullptr;
    }
  }
  if (poisoned.count(name.text) && !closedScope)
    return nullptr;
  if (isLanguageWord(name.text))
    return resolveBuiltin(name);
  if (closedScope)
    return unknownName(name);
  if (auto constant = constants.find(name.text); constant != constants.end()) {
    auto copy = std::make_shared<Expr>(*constant->second);
    copy->range = name.range;
    return copy;
  }
  if (place == Place::Axis && (spaceAxisNames.count(name.text) || derivedAxes.count(name.text)))
    return derivationLeaf({name}, name.range);
  // Consts are known before params are, so the source is asked here.
  for (const ast::Param &param : source->params)
    if (param.name.text == name.text && !allowed(name.text, name.range, place != Place::Const, ""))
      return nullptr;
  for (size_t i = 0; i < spec.params.size(); ++i)
    if (spec.params[i].name == name.text)
      return leaf(Op::Param, spec.params[i].type, name.range, static_cast<uint32_t>(i));
  for (size_t i = 0; i < source->lets.size(); ++i)
    if (source->lets[i].name.text == name.text && i < visibleLets)
      return allowed(name.text, name.range,
                     place != Place::Const && place != Place::Extent && place != Place::Axis,
                     "only masks, scores and outputs may use a let")
                 ? resolveLet(i)
                 : nullptr;
  for (size_t i = 0; i < spec.inputs.size(); ++i)
    if (spec.inputs[i].name == name.text) {
      if (!allowed(name.text, name.range, place == Place::Output || place == Place::Let,
                   "only the output may use an input"))
        return nullptr;
      return leaf(Op::InputValue, Type::Float, name.range, static_cast<uint32_t>(i));
    }
  for (const TableInfo &table : spec.tables)
    if (table.name == name.text) {
      report(DiagnosticId::table_c2, name.range,
             {"`" + name.text + "`", std::to_string(table.dims.size()), "no"});
      return nullptr;
    }
  if (spaceAxisNames.count(name.text) || derivedAxes.count(name.text)) {
    report(DiagnosticId::expr_c5, name.range, {name.text});
    return nullptr;
  }
  return unknownName(name);
}

ExprPtr Checker::unknownName(const ast::Name &name) {
  std::vector<std::string> candidates{"head", "batch", "layer", "heads", "all"};
  for (const Scope *s = scope; s; s = s->parent) {
    for (const auto &entry : s->values)
      candidates.push_back(entry.first);
    for (const auto &entry : s->axes)
      candidates.push_back(entry.first);
  }
  if (!closedScope)
    for (const auto &entry : declared)
      candidates.push_back(entry.first);
  report(DiagnosticId::name_c3, name.range,
         {"name `" + name.text + "`", suggestion(name.text, candidates)});
  return nullptr;
}

ExprPtr Checker::resolveBuiltin(const ast::Name &name) {
  struct Builtin {
    const char *name;
    Op op;
  };
  static const Builtin builtins[] = {{"head", Op::Head},
                                     {"batch", Op::Batch},
                                     {"layer", Op::Layer},
                                     {"heads", Op::Heads},
                                     {"kv_heads", Op::KvHeads}};
  bool early = place == Place::Const || place == Place::Extent || place == Place::Axis;
  for (const Builtin &builtin : builtins)
    if (name.text == builtin.name) {
      if (!allowed(name.text, name.range, !early, "it may use consts and params"))
        return nullptr;
      return leaf(builtin.op, Type::Int, name.range);
    }
  if (name.text == "s") {
    if (!allowed("s", name.range, place == Place::Score || place == Place::Let,
                 "s is the score, which only `score` may use"))
      return nullptr;
    return leaf(Op::Score, Type::Float, name.range);
  }
  if (name.text == "o" || name.text == "lse") {
    bool output = name.text == "o";
    if (!allowed(name.text, name.range, place == Place::Output || place == Place::Let,
                 output ? "o is the output, which only `output` may use"
                        : "lse is known after the softmax, and only `output` may use it"))
      return nullptr;
    return leaf(output ? Op::OutputValue : Op::LogSumExp, Type::Float, name.range);
  }
  if (name.text == "q" || name.text == "k") {
    report(DiagnosticId::name_c4, name.range,
           {"`" + name.text + "`", "an expression by itself", "write " + name.text + ".AXIS"});
    return nullptr;
  }
  return unknownName(name);
}

// A let stands for its expression. It is resolved once for each place, since
// the place decides what it may use.
ExprPtr Checker::resolveLet(size_t index) {
  usedLets.insert(index);
  auto key = std::tuple(index, place, visibleId);
  if (auto found = letValues.find(key); found != letValues.end())
    return found->second;
  size_t before = visibleLets;
  const Scope *scopeBefore = scope;
  visibleLets = index;
  scope = nullptr;
  ExprPtr value = resolve(*source->lets[index].value);
  visibleLets = before;
  scope = scopeBefore;
  letValues[key] = value;
  return value;
}

// sum, any and every are written out: their bounds are small constants.
ExprPtr Checker::resolveReduction(const ast::Reduction &reduction, SourceRange range) {
  std::optional<int64_t> first = constantInteger(*reduction.first, "a bound of a reduction");
  std::optional<int64_t> last = constantInteger(*reduction.last, "a bound of a reduction");
  if (!first || !last)
    return nullptr;
  int64_t count = *last - *first + 1;
  if (count < 1 || count > maxReduction) {
    report(DiagnosticId::expr_c4, range,
           {std::to_string(std::max<int64_t>(count, 0)), std::to_string(maxReduction)});
    return nullptr;
  }
  Op op = reduction.kind.text == "sum" ? Op::Add : reduction.kind.text == "any" ? Op::Or : Op::And;
  Scope inner;
  inner.parent = scope;
  const Scope *before = scope;
  scope = &inner;
  ExprPtr result;
  for (int64_t i = *first; i <= *last; ++i) {
    inner.values[reduction.variable.text] = integer(i, reduction.variable.range);
    // Counted like a pattern's expansion: nested reductions multiply.
    ++expansions;
    ExprPtr term = expansions > maxExpansions ? nullptr : resolve(*reduction.body);
    if (expansions > maxExpansions)
      reportTooLarge(range);
    if (op != Op::Add)
      term = require(term, Type::Bool, "`" + reduction.kind.text + "`");
    result = i == *first ? term : binary(op, result, term, range, "`" + reduction.kind.text + "`");
    if (!result)
      break;
  }
  scope = before;
  return result;
}

std::optional<int64_t> Checker::constantInteger(const ast::Expr &expr, std::string_view what) {
  ExprPtr value = require(resolveAt(Place::Const, expr), Type::Int, what);
  if (!value)
    return std::nullopt;
  if (value->op != Op::IntConstant) {
    report(DiagnosticId::number_c3, expr.range, {std::string(what)});
    return std::nullopt;
  }
  return value->intValue();
}

std::optional<double> Checker::constantNumber(const ast::Expr &expr, std::string_view what) {
  ExprPtr value = require(resolveAt(Place::Const, expr), Type::Float, what);
  if (!value)
    return std::nullopt;
  if (value->op != Op::FloatConstant) {
    report(DiagnosticId::number_c3, expr.range, {std::string(what)});
    return std::nullopt;
  }
  return value->floatValue();
}

} // namespace attn::spec
