// Reads expressions from a token list into syntax trees. The base of the
// clause parser; also holds the cursor and the panic-mode error state.
#pragma once

#include "compiler/spec/Ast.h"
#include "compiler/spec/Diagnostics.h"
#include "compiler/spec/Lexer.h"

#include <string>
#include <vector>

namespace attn::spec {

// Levels of nesting an expression may have; bounds every later recursion.
constexpr uint32_t maxParseDepth = 200;

class ExprParser {
public:
  ExprParser(std::vector<Token> tokens, Diagnostics &diagnostics)
      : tokens(std::move(tokens)), diagnostics(diagnostics) {}

  // Null after an error.
  ast::ExprPtr parseExpr();

protected:
  const Token &peek(size_t ahead = 0) const;
  Token take();
  bool accept(std::string_view what);
  void expect(std::string_view what);
  ast::Name expectName(std::string_view what);
  std::vector<ast::Name> parseNames(); // a, b, c
  // A literal, a name, a parenthesised expression, or minus such: for places
  // where a following parenthesis is not a call.
  ast::ExprPtr parseNumber();
  SourceRange since(SourceRange first) const { return join(first, previous); }

  // Reports once; until recover() every further expectation is ignored.
  void fail(std::string_view expected);
  bool panic = false;

  std::vector<Token> tokens;
  size_t at = 0;
  SourceRange previous; // the last token taken
  Diagnostics &diagnostics;

private:
  ast::ExprPtr parseBinary(int level);
  ast::ExprPtr parseUnary();
  ast::ExprPtr parsePrimary();
  ast::ExprPtr parseReduction();
  ast::ExprPtr parseCall(ast::Name callee);
  ast::Arg parseArg();
  void parseNamedArgs(ast::Arg &arg);
  template <typename Node> ast::ExprPtr make(SourceRange first, uint32_t childDepth, Node node);

  uint32_t depth = 0;
};

} // namespace attn::spec
