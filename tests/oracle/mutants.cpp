// Changes one token of a spec at a time.
#include "tests/oracle/mutants.h"

#include "compiler/spec/Lexer.h"

#include <algorithm>
#include <map>
#include <set>

namespace attn::oracle {

using spec::Token;
using spec::TokenKind;

namespace {

std::vector<std::string> neighbours(const Token &token) {
  if (token.kind == TokenKind::Integer) {
    std::vector<std::string> numbers = {std::to_string(token.integer + 1)};
    if (token.integer > 0)
      numbers.push_back(std::to_string(token.integer - 1));
    return numbers;
  }
  static const std::map<std::string_view, std::vector<std::string>> words = {
      {"<", {"<=", ">"}},  {"<=", {"<", ">="}}, {">", {">=", "<"}},  {">=", {">", "<="}},
      {"==", {"!="}},      {"!=", {"=="}},      {"and", {"or"}},     {"or", {"and"}},
      {"not", {""}},       {"+", {"-"}},        {"-", {"+"}},        {"*", {"+"}},
      {"//", {"%"}},       {"%", {"//"}},       {"/", {"*"}},        {"min", {"max"}},
      {"max", {"min"}},    {"true", {"false"}}, {"false", {"true"}}, {"any", {"every"}},
      {"every", {"any"}},  {"clamp", {"cut"}},  {"cut", {"clamp"}},  {"&", {"|"}},
      {"|", {"&"}},        {"^", {"&"}},        {"<<", {">>"}},      {">>", {"<<"}},
      {"causal", {"same"}}};
  auto found = words.find(token.text);
  return found == words.end() || token.kind == TokenKind::End ? std::vector<std::string>{}
                                                              : found->second;
}

// What the tokens from here on, up to the next clause, are part of.
std::optional<Part> partOf(std::string_view word) {
  static const std::set<std::string_view> meanings = {"mask",  "score",   "let",     "axis",
                                                      "const", "pattern", "softmax", "space"};
  static const std::set<std::string_view> declarations = {
      "tokens", "query", "keys",  "heads",   "type",  "scale",     "table", "input", "rope",
      "output", "emit",  "cache", "recache", "param", "attention", "cells", "select"};
  return meanings.count(word)       ? std::optional(Part::meaning)
         : declarations.count(word) ? std::optional(Part::declaration)
         : word == "require"        ? std::optional(Part::requirement)
                                    : std::nullopt;
}

} // namespace

std::vector<Mutant> mutantsOf(const std::string &text) {
  spec::Diagnostics diagnostics;
  std::vector<Mutant> mutants;
  Part part = Part::declaration;
  int braces = 0;
  std::map<std::string, int> seen;
  for (const Token &token : spec::lexSpec(text, 0, diagnostics)) {
    size_t at =
        token.kind == TokenKind::End ? text.size() : size_t(token.text.data() - text.data());
    size_t lineBegin = text.rfind('\n', at ? at - 1 : 0) + 1;
    bool startsLine = at >= lineBegin &&
                      text.find_first_not_of(" \t", lineBegin) == at; // a clause has its own line
    // The braces of a cache hold items that look like clauses.
    if (token.kind == TokenKind::Word && startsLine && braces <= 1)
      if (std::optional<Part> clause = partOf(token.text)) {
        part = *clause;
        continue;
      }
    // A pattern's body follows what it requires.
    if (startsLine && (token.is("=") || token.is("{")))
      part = Part::meaning;
    braces += token.is("{") - token.is("}");
    size_t line = size_t(std::count(text.begin(), text.begin() + ptrdiff_t(at), '\n')) + 1;
    for (const std::string &replacement : neighbours(token)) {
      std::string mutant = text;
      mutant.replace(at, token.text.size(), replacement);
      std::string description =
          std::to_string(line) + ": " + std::string(token.text) + " -> " + replacement;
      if (int again = seen[description]++)
        description += " (" + std::to_string(again + 1) + ")";
      mutants.push_back({std::move(mutant), std::move(description), part});
    }
  }
  return mutants;
}

} // namespace attn::oracle
