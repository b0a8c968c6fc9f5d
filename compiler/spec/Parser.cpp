// The structure of a file: patterns and attentions, and where to go on after
// an error. LANGUAGE.md holds the same grammar.
#include "compiler/spec/Parser.h"

#include "compiler/spec/ClauseParser.h"

namespace attn::spec {

using namespace ast;

File ClauseParser::run() {
  File file;
  while (peek().kind != TokenKind::End) {
    panic = false;
    if (accept("pattern"))
      parsePattern(file);
    else if (accept("attention"))
      parseAttention(file);
    else
      fail("`attention` or `pattern`");
    if (panic)
      skipToDefinition();
  }
  return file;
}

bool ClauseParser::startsLine() const {
  return at == 0 || peek().range.line != tokens[at - 1].range.line;
}

bool ClauseParser::startsDefinition() const {
  return startsLine() && (peek().is("attention") || peek().is("pattern"));
}

void ClauseParser::skipToDefinition() {
  while (peek().kind != TokenKind::End && !startsDefinition())
    take();
}

// Goes on at the next clause that starts a line, or at the closing brace.
void ClauseParser::skipToClause() {
  int depth = 0;
  while (peek().kind != TokenKind::End) {
    if (startsLine() && clauses().count(std::string(peek().text)))
      break;
    if (startsDefinition())
      break;
    if (peek().is("{"))
      ++depth;
    if (peek().is("}") && depth-- == 0)
      break;
    take();
  }
  panic = false;
}

void ClauseParser::parsePattern(File &file) {
  Pattern pattern;
  pattern.name = expectName("the pattern's name");
  expect("(");
  if (!accept(")")) {
    do
      pattern.params.push_back(patternParam());
    while (accept(","));
    expect(")");
  }
  while (accept("require")) {
    Requirement requirement;
    requirement.label = expectName("a label");
    expect(":");
    requirement.condition = parseExpr();
    pattern.requirements.push_back(std::move(requirement));
  }
  if (accept("=")) {
    pattern.body = parseExpr();
  } else {
    if (!peek().is("{"))
      fail("`=` or `{`");
    accept("{");
    while (accept("let"))
      pattern.lets.push_back(binding());
    expect("return");
    pattern.body = parseExpr();
    expect("}");
  }
  if (!panic)
    file.patterns.push_back(std::move(pattern));
}

// a: axis | edge: clamp | shrink | n | n = 3
PatternParam ClauseParser::patternParam() {
  PatternParam param;
  param.name = expectName("an argument");
  if (accept(":")) {
    if (accept("axis")) {
      param.isAxis = true;
      return param;
    }
    do
      param.choices.push_back(expectName("a choice"));
    while (accept("|"));
  } else if (accept("=")) {
    param.defaultValue = parseExpr();
  }
  return param;
}

const std::map<std::string, ClauseParser::Clause> &ClauseParser::clauses() {
  static const std::map<std::string, Clause> table = {
      {"const", &ClauseParser::constClause},    {"let", &ClauseParser::letClause},
      {"param", &ClauseParser::paramClause},    {"space", &ClauseParser::spaceClause},
      {"axis", &ClauseParser::axisClause},      {"tokens", &ClauseParser::tokensClause},
      {"cells", &ClauseParser::cellsClause},    {"query", &ClauseParser::queryClause},
      {"keys", &ClauseParser::keysClause},      {"heads", &ClauseParser::headsClause},
      {"type", &ClauseParser::typeClause},      {"table", &ClauseParser::tableClause},
      {"input", &ClauseParser::inputClause},    {"rope", &ClauseParser::ropeClause},
      {"mask", &ClauseParser::maskClause},      {"score", &ClauseParser::scoreClause},
      {"scale", &ClauseParser::scaleClause},    {"softmax", &ClauseParser::softmaxClause},
      {"output", &ClauseParser::outputClause},  {"emit", &ClauseParser::emitClause},
      {"select", &ClauseParser::selectClause},  {"cache", &ClauseParser::cacheClause},
      {"recache", &ClauseParser::recacheClause}};
  return table;
}

void ClauseParser::parseAttention(File &file) {
  Attention attention;
  SourceRange first = previous;
  attention.name = expectName("the attention's name");
  expect("{");
  bool broken = panic;
  if (panic)
    return;
  while (!peek().is("}")) {
    if (peek().kind == TokenKind::End || startsDefinition()) {
      fail("a clause or `}`");
      return;
    }
    auto clause = clauses().find(std::string(peek().text));
    if (peek().kind != TokenKind::Word || clause == clauses().end()) {
      std::string known;
      for (const auto &entry : clauses())
        known += (known.empty() ? "" : ", ") + entry.first;
      diagnostics.error(DiagnosticId::parse_c4, peek().range,
                        {"`" + std::string(peek().text.substr(0, 40)) + "`", known});
      take();
      panic = true;
    } else {
      take();
      clauseStart = previous;
      clause->second(*this, attention);
    }
    if (panic) {
      broken = true;
      skipToClause();
    }
  }
  take();
  attention.range = since(first);
  if (!broken)
    file.attentions.push_back(std::move(attention));
}

File parseSpec(std::string_view text, uint32_t file, Diagnostics &diagnostics) {
  if (text.size() > maxSpecBytes) {
    SourceRange start{file, 1, 1, 0, 1};
    diagnostics.error(DiagnosticId::file_c1, start,
                      {std::to_string(text.size()), std::to_string(maxSpecBytes)});
    return {};
  }
  return ClauseParser(lexSpec(text, file, diagnostics), diagnostics).run();
}

} // namespace attn::spec
