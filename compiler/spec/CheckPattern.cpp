// Calls: built-in functions, and named patterns, which are expanded where they
// are called. Boolean patterns stay visible as Pattern nodes.
#include "compiler/spec/Bounds.h"
#include "compiler/spec/Checker.h"

#include <cctype>
#include <cmath>

namespace attn::spec {
namespace {

struct Function {
  const char *name;
  Op op;
  size_t least, most; // number of arguments
};
constexpr Function functions[] = {
    {"abs", Op::Abs, 1, 1},         {"exp", Op::Exp, 1, 1},       {"exp2", Op::Exp2, 1, 1},
    {"log", Op::Log, 1, 1},         {"log2", Op::Log2, 1, 1},     {"sqrt", Op::Sqrt, 1, 1},
    {"tanh", Op::Tanh, 1, 1},       {"sin", Op::Sin, 1, 1},       {"cos", Op::Cos, 1, 1},
    {"sigmoid", Op::Sigmoid, 1, 1}, {"floor", Op::Floor, 1, 1},   {"ceil", Op::Ceil, 1, 1},
    {"int", Op::ToInt, 1, 1},       {"float", Op::ToFloat, 1, 1}, {"min", Op::Min, 2, 16},
    {"max", Op::Max, 2, 16},        {"clamp", Op::Select, 3, 3}, // op unused: min(max(x, low),
                                                                 // high)
};

std::string parameterList(const ast::Pattern &pattern) {
  std::string result = "(";
  for (size_t i = 0; i < pattern.params.size(); ++i)
    result +=
        (i ? ", " : "") + pattern.params[i].name.text + (pattern.params[i].isAxis ? ": axis" : "");
  return result + ")";
}

std::string showNumber(double value) {
  if (value == std::floor(value) && std::fabs(value) < 1e15)
    return std::to_string(static_cast<int64_t>(value));
  return std::isinf(value) ? (value > 0 ? "any" : "-any") : std::to_string(value);
}

} // namespace

bool isLanguageWord(const std::string &word) {
  for (const char *other :
       {"q",     "k",        "s",    "o",      "lse", "head", "heads", "kv_heads", "batch",
        "layer", "position", "len",  "extent", "all", "any",  "every", "sum",      "true",
        "false", "if",       "then", "else",   "and", "or",   "not",   "in"})
    if (word == other)
      return true;
  for (const Function &function : functions)
    if (word == function.name)
      return true;
  return false;
}

ExprPtr Checker::resolveFunction(const ast::Call &call, SourceRange range, bool &known) {
  const Function *function = nullptr;
  for (const Function &candidate : functions)
    if (call.callee.text == candidate.name)
      function = &candidate;
  known = function != nullptr;
  if (!function)
    return nullptr;
  std::string what = "`" + call.callee.text + "`";
  std::vector<ExprPtr> args;
  for (const ast::Arg &arg : call.args) {
    if (arg.label || !arg.value || !arg.named.empty()) {
      report(DiagnosticId::parse_c1, arg.range, {"a named argument", "an expression"});
      return nullptr;
    }
    args.push_back(resolve(*arg.value));
  }
  if (args.size() < function->least || args.size() > function->most) {
    std::string least = std::to_string(function->least), most = std::to_string(function->most);
    report(DiagnosticId::expr_c3, range,
           {what, least == most ? least : least + " to " + most, std::to_string(args.size())});
    return nullptr;
  }
  for (const ExprPtr &arg : args)
    if (!arg)
      return nullptr;
  if (function->op == Op::Select)
    return binary(Op::Min, binary(Op::Max, args[0], args[1], range, what), args[2], range, what);
  if (function->op == Op::ToFloat)
    return require(args[0], Type::Float, what);
  if (function->op == Op::ToInt) {
    if (args[0]->type == Type::Int)
      return args[0];
    return unary(args[0]->type == Type::Bool ? Op::BoolToInt : Op::ToInt, args[0], range, what);
  }
  if (function->least == 1)
    return unary(function->op, args[0], range, what);
  ExprPtr result = args[0];
  for (size_t i = 1; i < args.size(); ++i)
    result = binary(function->op, result, args[i], range, what);
  return result;
}

// len(SPACE): number of tokens; extent(AXIS): number of values.
ExprPtr Checker::resolveLength(const ast::Call &call, SourceRange range) {
  bool ofSpace = call.callee.text == "len";
  const ast::Reference *reference =
      call.args.size() == 1 && call.args[0].value && !call.args[0].label
          ? std::get_if<ast::Reference>(&call.args[0].value->node)
          : nullptr;
  if (!reference) {
    report(DiagnosticId::expr_c3, range,
           {"`" + call.callee.text + "`",
            ofSpace ? "the name of a space as its only" : "the name of an axis as its only",
            std::to_string(call.args.size())});
    return nullptr;
  }
  std::string name = reference->path.back().text;
  if (!allowed(call.callee.text, range,
               place != Place::Const && place != Place::Extent && place != Place::Axis,
               "it may use consts and params"))
    return nullptr;
  std::optional<Extent> extent;
  if (ofSpace) {
    int space = closedScope ? -1 : spaceIndex(name);
    if (space < 0)
      return poisoned.count(name) ? nullptr : unknownName(reference->path.back());
    extent = spaceLength(static_cast<uint32_t>(space));
  } else {
    std::optional<AxisRef> axis = axisRef(reference->path, call.args[0].value->range);
    if (!axis)
      return nullptr;
    extent = axis->key.value ? axis->key.extent : axis->query.extent;
    name = axis->name;
  }
  if (!extent) {
    report(DiagnosticId::axis_c2, range, {"`" + name + "`", "`" + call.callee.text + "`"});
    return nullptr;
  }
  return toExpr(*extent, range);
}

ExprPtr Checker::resolveCall(const ast::Call &call, SourceRange range) {
  if (call.callee.text == "len" || call.callee.text == "extent")
    return resolveLength(call, range);
  bool known = false;
  ExprPtr result = resolveFunction(call, range, known);
  if (known)
    return result;
  auto entry = patterns.find(call.callee.text);
  if (entry != patterns.end())
    return callPattern(entry->second, call, range);
  std::vector<std::string> names;
  for (const auto &[name, unused] : patterns)
    names.push_back(name);
  for (const Function &function : functions)
    names.push_back(function.name);
  report(DiagnosticId::name_c3, call.callee.range,
         {"pattern `" + call.callee.text + "`", suggestion(call.callee.text, names)});
  return nullptr;
}

// p(t: 5 stride 2, x: 7, edge clamp) means p(t, 5, stride 2, edge clamp) and
// p(x, 7, edge clamp).
ExprPtr Checker::callPattern(const PatternEntry &entry, const ast::Call &call, SourceRange range) {
  bool labelled = false;
  for (const ast::Arg &arg : call.args)
    labelled |= arg.label.has_value();
  if (!labelled) {
    BoundArgs bound;
    return bindArgs(entry, call, nullptr, bound) ? expand(entry, bound, range) : nullptr;
  }
  ExprPtr result = boolean(true, range);
  for (const ast::Arg &arg : call.args) {
    if (!arg.label)
      continue;
    BoundArgs bound;
    ExprPtr term = bindArgs(entry, call, &arg, bound) ? expand(entry, bound, arg.range) : nullptr;
    term = require(term, Type::Bool, "`" + call.callee.text + "` over axes");
    result = conjunction(result, term);
    if (!result)
      return nullptr;
  }
  return result;
}

bool Checker::bindArgs(const PatternEntry &entry, const ast::Call &call, const ast::Arg *labelled,
                       BoundArgs &bound) {
  const ast::Pattern &pattern = *entry.pattern;
  const std::string quoted = "`" + pattern.name.text + "`";
  bound.exprs.assign(pattern.params.size(), nullptr);
  size_t next = 0;
  auto positional = [&](const ast::Arg &arg) {
    if (next >= bound.exprs.size()) {
      report(DiagnosticId::pattern_c7, arg.range, {quoted, parameterList(pattern)});
      return false;
    }
    bound.exprs[next++] = arg.value.get();
    return true;
  };
  auto byName = [&](const ast::Arg &arg) {
    for (const ast::NamedArg &named : arg.named) {
      size_t index = 0;
      while (index < pattern.params.size() && pattern.params[index].name.text != named.name.text)
        ++index;
      if (index == pattern.params.size()) {
        report(DiagnosticId::pattern_c2, named.name.range,
               {quoted, "`" + named.name.text + "`", parameterList(pattern)});
        return false;
      }
      if (bound.exprs[index] || (index == 0 && bound.axisLabel)) {
        report(DiagnosticId::pattern_c8, named.name.range, {quoted, "`" + named.name.text + "`"});
        return false;
      }
      bound.exprs[index] = named.value.get();
    }
    return true;
  };
  if (labelled) {
    bound.axisLabel = &*labelled->label;
    if (pattern.params.empty()) {
      report(DiagnosticId::pattern_c7, labelled->range, {quoted, parameterList(pattern)});
      return false;
    }
    next = 1;
    if (!positional(*labelled) || !byName(*labelled))
      return false;
    for (const ast::Arg &arg : call.args) {
      if (arg.label)
        continue;
      if (arg.value) {
        report(DiagnosticId::pattern_c7, arg.range, {quoted, parameterList(pattern)});
        return false;
      }
      if (!byName(arg))
        return false;
    }
    return true;
  }
  for (const ast::Arg &arg : call.args)
    if (arg.value && !positional(arg))
      return false;
  for (const ast::Arg &arg : call.args)
    if (!byName(arg))
      return false;
  return true;
}

// Binds one argument in `scope`. Runs outside the pattern: arguments are read
// in the caller's scope, defaults in none.
bool Checker::bindParam(const PatternEntry &entry, size_t index, const BoundArgs &bound,
                        SourceRange range, Scope &inner, PatternCall &call) {
  const ast::Pattern &pattern = *entry.pattern;
  const ast::PatternParam &param = pattern.params[index];
  const ast::Expr *given = bound.exprs[index];
  const std::string quoted = "`" + pattern.name.text + "`", name = "`" + param.name.text + "`";
  bool label = index == 0 && bound.axisLabel;
  if (!given && !label && !param.defaultValue && param.choices.empty()) {
    report(DiagnosticId::pattern_c3, range, {quoted, name, parameterList(pattern)});
    return false;
  }
  if (param.isAxis) {
    const ast::Reference *reference = given ? std::get_if<ast::Reference>(&given->node) : nullptr;
    if (!label && !reference) {
      report(DiagnosticId::pattern_c4, given->range,
             {quoted, name, "`" + pattern.name.text + "(t)`"});
      return false;
    }
    std::optional<AxisRef> axis = label ? axisRef({*bound.axisLabel}, bound.axisLabel->range)
                                        : axisRef(reference->path, given->range);
    if (!axis)
      return false;
    inner.axes[param.name.text] = *axis;
    call.args.push_back({param.name.text, *axis});
    return true;
  }
  ExprPtr value;
  std::string word;
  if (label) {
    report(DiagnosticId::pattern_c4, bound.axisLabel->range, {quoted, name, "`a: axis`"});
    return false;
  }
  if (!param.choices.empty()) {
    const ast::Reference *reference = given ? std::get_if<ast::Reference>(&given->node) : nullptr;
    std::vector<std::string> words;
    size_t chosen = given ? param.choices.size() : 0;
    for (size_t i = 0; i < param.choices.size(); ++i) {
      words.push_back(param.choices[i].text);
      inner.values[param.choices[i].text] =
          integer(static_cast<int64_t>(i), param.choices[i].range);
      if (reference && reference->path.size() == 1 && reference->path[0].text == words.back())
        chosen = i;
    }
    if (chosen == param.choices.size()) {
      report(DiagnosticId::pattern_c5, given->range,
             {quoted, name, reference ? "`" + reference->path[0].text + "`" : "an expression",
              listOf(words)});
      return false;
    }
    word = words[chosen];
    value = integer(static_cast<int64_t>(chosen), given ? given->range : range);
  } else if (given) {
    value = resolve(*given);
  } else {
    const Scope *before = scope;
    bool closedBefore = closedScope;
    scope = nullptr;
    closedScope = true;
    value = resolve(*param.defaultValue);
    scope = before;
    closedScope = closedBefore;
  }
  inner.values[param.name.text] = value;
  call.args.push_back({param.name.text, value, word});
  return value != nullptr;
}

ExprPtr Checker::expand(const PatternEntry &entry, const BoundArgs &bound, SourceRange range) {
  const ast::Pattern &pattern = *entry.pattern;
  for (const Frame &frame : frames)
    if (frame.pattern == pattern.name.text) {
      report(DiagnosticId::pattern_c1, range, {"`" + pattern.name.text + "`"});
      return nullptr;
    }
  if (++expansions > maxExpansions) {
    reportTooLarge(range);
    return nullptr;
  }
  Scope inner;
  PatternCall call{pattern.name.text, entry.standard, {}};
  for (size_t i = 0; i < pattern.params.size(); ++i)
    if (!bindParam(entry, i, bound, range, inner, call))
      return nullptr;

  const Scope *before = scope;
  bool closedBefore = closedScope;
  scope = &inner;
  closedScope = true;
  frames.push_back({pattern.name.text, range});
  bool good = true;
  for (const ast::Requirement &requirement : pattern.requirements)
    good = good && checkRequirement(entry, requirement, call, range);
  for (const ast::Binding &let : pattern.lets)
    if (good)
      good = (inner.values[let.name.text] = resolve(*let.value)) != nullptr;
  ExprPtr body = good ? resolve(*pattern.body) : nullptr;
  frames.pop_back();
  scope = before;
  closedScope = closedBefore;

  if (!body || body->type != Type::Bool)
    return body;
  return this->pattern(std::move(call), body, range);
}

static bool mentions(const std::string &text, const std::string &word) {
  auto isWord = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    size_t end = at + word.size();
    if ((at == 0 || !isWord(text[at - 1])) && (end == text.size() || !isWord(text[end])))
      return true;
  }
  return false;
}

// Table entries are known at run time only; a requirement on them is not checked.
static bool readsTable(const Expr &expr) {
  if (expr.op == Op::Gather)
    return true;
  for (const ExprPtr &operand : expr.operands)
    if (readsTable(*operand))
      return true;
  return false;
}

bool Checker::checkRequirement(const PatternEntry &entry, const ast::Requirement &requirement,
                               const PatternCall &call, SourceRange range) {
  ExprPtr condition = require(resolve(*requirement.condition), Type::Bool, "`require`");
  if (!condition)
    return false;
  BoundsEnvironment environment;
  environment.spec = &spec;
  if (boundsOf(*condition, environment).isTrue() || readsTable(*condition))
    return true;
  const SourceRange &place = requirement.condition->range;
  std::string text(entry.text.substr(place.offset, place.length));
  std::string found;
  for (const PatternArg &arg : call.args) {
    const ExprPtr *value = std::get_if<ExprPtr>(&arg.value);
    if (!value || (*value)->type == Type::Bool || !mentions(text, arg.name))
      continue;
    Bounds b = boundsOf(**value, environment);
    found += (found.empty() ? "" : " and ") + arg.name +
             (b.low == b.high ? " is " + showNumber(b.low)
                              : " lies in " + showNumber(b.low) + ".." + showNumber(b.high));
  }
  // Reported at the call: the frame of this pattern is the innermost one.
  report(DiagnosticId::pattern_c6, range,
         {requirement.label.text, "`" + call.name + "`", "`" + text + "`",
          found.empty() ? "it does not hold" : found});
  return false;
}

} // namespace attn::spec
