// The clause parser's class: Parser.cpp holds the file's structure and error
// recovery, ParseClauses.cpp the clauses.
#pragma once

#include "compiler/spec/ExprParser.h"

#include <functional>
#include <map>
#include <string>

namespace attn::spec {

class ClauseParser : public ExprParser {
public:
  using ExprParser::ExprParser;

  ast::File run();

private:
  bool startsLine() const;
  bool startsDefinition() const;
  void skipToDefinition();
  void skipToClause();
  void parsePattern(ast::File &file);
  ast::PatternParam patternParam();
  void parseAttention(ast::File &file);

  using Clause = std::function<void(ClauseParser &, ast::Attention &)>;
  static const std::map<std::string, Clause> &clauses();

  // ParseClauses.cpp, one function a clause, named after it.
  void constClause(ast::Attention &a);
  void letClause(ast::Attention &a);
  void paramClause(ast::Attention &a);
  ast::TokenOrder tokenOrder();
  void spaceClause(ast::Attention &a);
  void axisClause(ast::Attention &a);
  void tokensClause(ast::Attention &a);
  void cellsClause(ast::Attention &a);
  void queryClause(ast::Attention &a);
  void keysClause(ast::Attention &a);
  void headsClause(ast::Attention &a);
  void typeClause(ast::Attention &a);
  void tableClause(ast::Attention &a);
  void inputClause(ast::Attention &a);
  void ropeClause(ast::Attention &a);
  void maskClause(ast::Attention &a);
  void scoreClause(ast::Attention &a);
  void scaleClause(ast::Attention &a);
  void outputClause(ast::Attention &a);
  void softmaxClause(ast::Attention &a);
  void emitClause(ast::Attention &a);
  void selectClause(ast::Attention &a);
  void cacheClause(ast::Attention &a);
  void recacheClause(ast::Attention &a);
  SourceRange whole() const { return since(clauseStart); }
  ast::Binding binding();
  std::vector<ast::Binding> axisValues();
  std::vector<ast::Name> dims();
  ast::Scalar scalar();
  ast::CacheItem cacheItem();

  SourceRange clauseStart;
};

} // namespace attn::spec
