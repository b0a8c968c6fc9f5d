// Turns a spec's text into tokens; comments and white space go. A character
// that begins no token is reported and skipped.
#pragma once

#include "compiler/spec/Diagnostics.h"
#include "compiler/spec/SourceRange.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace attn::spec {

enum class TokenKind : uint8_t { End, Word, Integer, Float, Symbol };

struct Token {
  TokenKind kind = TokenKind::End;
  std::string_view text; // into the source
  SourceRange range;
  static constexpr int64_t kSaturated = int64_t(1) << 40; // no constant may reach it
  int64_t integer = 0;                                    // Integer: at most kSaturated
  double number = 0;                                      // Float

  bool is(std::string_view what) const {
    return (kind == TokenKind::Word || kind == TokenKind::Symbol) && text == what;
  }
};

// The list ends with an End token. Tokens view `source`, which must outlive them.
std::vector<Token> lexSpec(std::string_view source, uint32_t file, Diagnostics &diagnostics);

} // namespace attn::spec
