// Turns a spec's text into tokens. The longest symbol wins, so `..`, `//`,
// `++` and `->` are single tokens and `1..4` is a range, not a number.
#include "compiler/spec/Lexer.h"

#include <charconv>
#include <string>

namespace attn::spec {
namespace {

bool isDigit(char c) { return c >= '0' && c <= '9'; }
bool isWordStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool isWordPart(char c) { return isWordStart(c) || isDigit(c); }

constexpr std::string_view symbols[] = {
    "..", "//", "++", "->", "<<", ">>", "<=", ">=", "==", "!=", "(", ")", "{", "}", "[", "]",
    ",",  ";",  ":",  ".",  "+",  "-",  "*",  "/",  "%",  "&",  "|", "^", "~", "<", ">", "="};

class Lexer {
public:
  Lexer(std::string_view source, uint32_t file, Diagnostics &diagnostics)
      : source(source), file(file), diagnostics(diagnostics) {}

  std::vector<Token> run() {
    std::vector<Token> tokens;
    for (;;) {
      skipBlanks();
      if (at >= source.size())
        break;
      Token token = next();
      if (token.kind != TokenKind::End)
        tokens.push_back(token);
    }
    Token end;
    end.range = rangeFrom(at, line, at - lineStart + 1);
    end.range.length = 0;
    tokens.push_back(end);
    return tokens;
  }

private:
  char peek(size_t ahead = 0) const {
    return at + ahead < source.size() ? source[at + ahead] : '\0';
  }

  SourceRange rangeFrom(size_t begin, size_t beginLine, size_t column) const {
    return {file, static_cast<uint32_t>(beginLine), static_cast<uint32_t>(column),
            static_cast<uint32_t>(begin), static_cast<uint32_t>(at - begin)};
  }

  void skipBlanks() {
    while (at < source.size()) {
      char c = source[at];
      if (c == '\n') {
        ++line;
        lineStart = ++at;
      } else if (c == ' ' || c == '\t' || c == '\r') {
        ++at;
      } else if (c == '#') {
        while (at < source.size() && source[at] != '\n')
          ++at;
      } else {
        return;
      }
    }
  }

  Token next() {
    size_t begin = at;
    Token token;
    if (isWordStart(source[at])) {
      while (isWordPart(peek()))
        ++at;
      token.kind = TokenKind::Word;
    } else if (isDigit(source[at])) {
      number(token);
    } else {
      for (std::string_view symbol : symbols)
        if (source.substr(at, symbol.size()) == symbol) {
          at += symbol.size();
          token.kind = TokenKind::Symbol;
          break;
        }
      if (token.kind == TokenKind::End) {
        ++at;
        // One report for a run of such bytes: binary files would flood.
        while (at < source.size() && static_cast<unsigned char>(source[at]) >= 0x80)
          ++at;
        SourceRange range = rangeFrom(begin, line, begin - lineStart + 1);
        unsigned char c = static_cast<unsigned char>(source[begin]);
        std::string shown = c >= 0x20 && c < 0x7f ? "`" + std::string(1, source[begin]) + "`"
                                                  : "with code " + std::to_string(c);
        diagnostics.error(DiagnosticId::lex_c1, range, {shown});
        if (c < 0x20 || c == 0x7f)
          at = source.size(); // no text: one mistake says it all
        return token;
      }
    }
    token.text = source.substr(begin, at - begin);
    token.range = rangeFrom(begin, line, begin - lineStart + 1);
    if (malformed) {
      malformed = false;
      diagnostics.error(DiagnosticId::lex_c2, token.range,
                        {"`" + std::string(token.text.substr(0, 40)) + "`"});
    }
    return token;
  }

  void number(Token &token) {
    size_t begin = at;
    token.kind = TokenKind::Integer;
    int base = 10;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
      base = 16;
      at += 2;
      begin = at;
      while (isWordPart(peek()))
        ++at;
    } else {
      while (isDigit(peek()))
        ++at;
      if (peek() == '.' && isDigit(peek(1))) {
        token.kind = TokenKind::Float;
        ++at;
        while (isDigit(peek()))
          ++at;
      }
      bool signedExponent = (peek(1) == '+' || peek(1) == '-') && isDigit(peek(2));
      if ((peek() == 'e' || peek() == 'E') && (isDigit(peek(1)) || signedExponent)) {
        token.kind = TokenKind::Float;
        at += signedExponent ? 2 : 1;
        while (isDigit(peek()))
          ++at;
      }
      while (isWordPart(peek())) {
        malformed = true;
        ++at;
      }
    }
    const char *first = source.data() + begin, *last = source.data() + at;
    if (token.kind == TokenKind::Float) {
      auto result = std::from_chars(first, last, token.number);
      malformed |= result.ec != std::errc() || result.ptr != last;
      return;
    }
    auto result = std::from_chars(first, last, token.integer, base);
    if (result.ec == std::errc::result_out_of_range || token.integer > Token::kSaturated)
      token.integer = Token::kSaturated;
    else if (result.ec != std::errc() || result.ptr != last)
      malformed = true;
  }

  std::string_view source;
  uint32_t file;
  Diagnostics &diagnostics;
  size_t at = 0, line = 1, lineStart = 0;
  bool malformed = false;
};

} // namespace

std::vector<Token> lexSpec(std::string_view source, uint32_t file, Diagnostics &diagnostics) {
  return Lexer(source, file, diagnostics).run();
}

} // namespace attn::spec
