// Recursive descent over expressions; one table gives the binary operators'
// precedence. Depth is bounded, so hostile input cannot exhaust the stack.
#include "compiler/spec/ExprParser.h"

#include <algorithm>

namespace attn::spec {

using namespace ast;

namespace {

struct Operator {
  std::string_view text;
  BinaryOp op;
};
// From the loosest binding to the tightest; `not` sits between levels 1 and 2.
const std::vector<std::vector<Operator>> levels = {
    {{"or", BinaryOp::Or}},
    {{"and", BinaryOp::And}},
    {{"==", BinaryOp::Equal},
     {"!=", BinaryOp::NotEqual},
     {"<", BinaryOp::Less},
     {"<=", BinaryOp::LessEqual},
     {">", BinaryOp::Greater},
     {">=", BinaryOp::GreaterEqual}},
    {{"|", BinaryOp::BitOr}},
    {{"^", BinaryOp::BitXor}},
    {{"&", BinaryOp::BitAnd}},
    {{"<<", BinaryOp::ShiftLeft}, {">>", BinaryOp::ShiftRight}},
    {{"+", BinaryOp::Add}, {"-", BinaryOp::Subtract}},
    {{"*", BinaryOp::Multiply},
     {"//", BinaryOp::FloorDiv},
     {"/", BinaryOp::Div},
     {"%", BinaryOp::Mod}},
};
constexpr int comparisonLevel = 2;

const Operator *findOperator(int level, const Token &token) {
  for (const Operator &candidate : levels[level])
    if (token.is(candidate.text))
      return &candidate;
  return nullptr;
}

uint32_t depthOf(const ExprPtr &expr) { return expr ? expr->depth : 0; }

bool isReserved(std::string_view word) {
  for (std::string_view reserved :
       {"if", "then", "else", "and", "or", "not", "true", "false", "in"})
    if (word == reserved)
      return true;
  return false;
}

std::string show(const Token &token) {
  if (token.kind == TokenKind::End)
    return "the end of the file";
  return "`" + std::string(token.text.substr(0, 40)) + "`";
}

} // namespace

const Token &ExprParser::peek(size_t ahead) const {
  return tokens[std::min(at + ahead, tokens.size() - 1)];
}

Token ExprParser::take() {
  Token token = peek();
  if (at + 1 < tokens.size())
    ++at;
  previous = token.range;
  return token;
}

bool ExprParser::accept(std::string_view what) {
  if (panic || !peek().is(what))
    return false;
  take();
  return true;
}

void ExprParser::fail(std::string_view expected) {
  if (!panic)
    diagnostics.error(DiagnosticId::parse_c1, peek().range, {show(peek()), std::string(expected)});
  panic = true;
}

void ExprParser::expect(std::string_view what) {
  if (!accept(what))
    fail("`" + std::string(what) + "`");
}

Name ExprParser::expectName(std::string_view what) {
  if (panic || peek().kind != TokenKind::Word || isReserved(peek().text)) {
    fail(what);
    return {"", peek().range};
  }
  Token token = take();
  return {std::string(token.text), token.range};
}

std::vector<Name> ExprParser::parseNames() {
  std::vector<Name> names{expectName("a name")};
  while (accept(","))
    names.push_back(expectName("a name"));
  return names;
}

template <typename Node>
ExprPtr ExprParser::make(SourceRange first, uint32_t childDepth, Node node) {
  if (panic)
    return nullptr;
  auto expr = std::make_unique<Expr>();
  expr->range = since(first);
  expr->depth = childDepth + 1;
  expr->node = std::move(node);
  if (expr->depth > maxParseDepth) {
    diagnostics.error(DiagnosticId::parse_c2, previous, {std::to_string(maxParseDepth)});
    panic = true;
    return nullptr;
  }
  return expr;
}

ExprPtr ExprParser::parseExpr() {
  if (panic)
    return nullptr;
  // Each nesting passes a dozen functions, so the recursion is bounded too.
  if (++depth > maxParseDepth) {
    diagnostics.error(DiagnosticId::parse_c2, peek().range, {std::to_string(maxParseDepth)});
    panic = true;
  }
  ExprPtr result;
  SourceRange first = peek().range;
  if (accept("if")) {
    Conditional node;
    node.condition = parseExpr();
    expect("then");
    node.then = parseExpr();
    expect("else");
    node.otherwise = parseExpr();
    uint32_t below =
        std::max({depthOf(node.condition), depthOf(node.then), depthOf(node.otherwise)});
    result = make(first, below, std::move(node));
  } else {
    result = parseBinary(0);
  }
  --depth;
  return result;
}

ExprPtr ExprParser::parseBinary(int level) {
  if (level == comparisonLevel && peek().is("not"))
    return parseUnary();
  if (level == static_cast<int>(levels.size()))
    return parseUnary();
  SourceRange first = peek().range;
  ExprPtr lhs = parseBinary(level + 1);
  while (!panic) {
    const Operator *found = findOperator(level, peek());
    if (!found)
      break;
    take();
    ExprPtr rhs = parseBinary(level + 1);
    uint32_t below = std::max(depthOf(lhs), depthOf(rhs));
    lhs = make(first, below, Binary{found->op, std::move(lhs), std::move(rhs)});
    if (level == comparisonLevel && !panic && findOperator(level, peek())) {
      diagnostics.error(DiagnosticId::parse_c3, peek().range);
      panic = true;
    }
  }
  return panic ? nullptr : std::move(lhs);
}

ExprPtr ExprParser::parseUnary() {
  SourceRange first = peek().range;
  if (panic)
    return nullptr;
  for (auto [text, op] : {std::pair{"not", UnaryOp::Not}, std::pair{"-", UnaryOp::Negate},
                          std::pair{"~", UnaryOp::BitNot}}) {
    if (!peek().is(text))
      continue;
    take();
    if (++depth > maxParseDepth) {
      diagnostics.error(DiagnosticId::parse_c2, first, {std::to_string(maxParseDepth)});
      panic = true;
    }
    ExprPtr operand = op == UnaryOp::Not ? parseBinary(comparisonLevel) : parseUnary();
    --depth;
    return make(first, depthOf(operand), Unary{op, std::move(operand)});
  }
  return parsePrimary();
}

ExprPtr ExprParser::parseNumber() {
  SourceRange first = peek().range;
  if (accept("-")) {
    ExprPtr operand = parseNumber();
    return make(first, depthOf(operand), Unary{UnaryOp::Negate, std::move(operand)});
  }
  if (peek().kind == TokenKind::Word && !isReserved(peek().text)) {
    Name name = expectName("a number");
    return make(first, 0, Reference{{name}});
  }
  if (peek().kind == TokenKind::Integer || peek().kind == TokenKind::Float || peek().is("("))
    return parsePrimary();
  fail("a number");
  return nullptr;
}

ExprPtr ExprParser::parsePrimary() {
  SourceRange first = peek().range;
  if (panic)
    return nullptr;
  if (peek().kind == TokenKind::Integer)
    return make(first, 0, IntLiteral{take().integer});
  if (peek().kind == TokenKind::Float)
    return make(first, 0, FloatLiteral{take().number});
  if (accept("(")) {
    ExprPtr inner = parseExpr();
    expect(")");
    if (inner)
      inner->range = since(first);
    return inner;
  }
  if (accept("true") || accept("false"))
    return make(first, 0, BoolLiteral{tokens[at - 1].text == "true"});
  if (peek().kind != TokenKind::Word || isReserved(peek().text)) {
    fail("an expression");
    return nullptr;
  }
  if (peek(1).is("(")) {
    if ((peek().is("sum") || peek().is("any") || peek().is("every")) &&
        peek(2).kind == TokenKind::Word && peek(3).is("in"))
      return parseReduction();
    Token callee = take();
    return parseCall({std::string(callee.text), callee.range});
  }
  Reference reference;
  reference.path.push_back(expectName("a name"));
  while (accept("."))
    reference.path.push_back(expectName("an axis"));
  if (reference.path.size() == 1 && accept("[")) {
    Index node{reference.path[0], {}};
    uint32_t below = 0;
    do {
      node.indices.push_back(parseExpr());
      below = std::max(below, depthOf(node.indices.back()));
    } while (accept(","));
    expect("]");
    return make(first, below, std::move(node));
  }
  if (reference.path.size() == 1 && reference.path[0].text == "all")
    return make(first, 0, BoolLiteral{true});
  return make(first, 0, std::move(reference));
}

// sum(n in 0..3: expr)
ExprPtr ExprParser::parseReduction() {
  SourceRange first = peek().range;
  Reduction node;
  node.kind = expectName("a reduction");
  expect("(");
  node.variable = expectName("a variable");
  expect("in");
  node.first = parseExpr();
  expect("..");
  node.last = parseExpr();
  expect(":");
  node.body = parseExpr();
  expect(")");
  uint32_t below = std::max({depthOf(node.first), depthOf(node.last), depthOf(node.body)});
  return make(first, below, std::move(node));
}

ExprPtr ExprParser::parseCall(Name callee) {
  Call node{std::move(callee), {}};
  SourceRange first = node.callee.range;
  uint32_t below = 0;
  expect("(");
  if (!accept(")")) {
    do {
      node.args.push_back(parseArg());
      below = std::max(below, depthOf(node.args.back().value));
      for (const NamedArg &named : node.args.back().named)
        below = std::max(below, depthOf(named.value));
    } while (accept(","));
    expect(")");
  }
  return make(first, below, std::move(node));
}

// `t: 5 stride 2`, `edge clamp`, or a plain expression.
Arg ExprParser::parseArg() {
  Arg arg;
  SourceRange first = peek().range;
  bool word = peek().kind == TokenKind::Word && !isReserved(peek().text);
  if (word && peek(1).is(":")) {
    arg.label = expectName("an axis");
    take();
    arg.value = parseExpr();
  } else {
    // Two words, or a word and a number, side by side are no expression.
    TokenKind next = peek(1).kind;
    bool named = word && peek(1).range.line == peek().range.line &&
                 (next == TokenKind::Integer || next == TokenKind::Float ||
                  (next == TokenKind::Word && !isReserved(peek(1).text) && !peek(1).is("and") &&
                   !peek(1).is("or")));
    if (!named)
      arg.value = parseExpr();
  }
  parseNamedArgs(arg);
  arg.range = since(first);
  return arg;
}

void ExprParser::parseNamedArgs(Arg &arg) {
  bool first = !arg.value;
  while (!panic && peek().kind == TokenKind::Word && !isReserved(peek().text)) {
    // On the line of what precedes: else a forgotten `)` would swallow a clause.
    if (!first && peek().range.line != previous.line)
      return;
    first = false;
    Name name = expectName("an argument");
    ExprPtr value = parseNumber();
    arg.named.push_back({std::move(name), std::move(value)});
  }
}

} // namespace attn::spec
