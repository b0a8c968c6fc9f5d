// Turns tokens into the syntax tree of a file. After an error it goes on at the
// next clause, so that one run reports several errors.
#pragma once

#include "compiler/spec/Ast.h"
#include "compiler/spec/Diagnostics.h"

#include <string_view>

namespace attn::spec {

constexpr size_t maxSpecBytes = 256 * 1024;

// Lexes and parses. `file` is the number that ranges carry (0: the user's).
// The tree is meaningful only if nothing was reported.
ast::File parseSpec(std::string_view text, uint32_t file, Diagnostics &diagnostics);

} // namespace attn::spec
