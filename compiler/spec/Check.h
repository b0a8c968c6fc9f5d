// Takes the syntax tree of one file and yields the checked spec, or reports
// every constraint that it breaks. parseAndCheck is the whole front end.
#pragma once

#include "compiler/spec/Ast.h"
#include "compiler/spec/CheckedSpec.h"
#include "compiler/spec/Diagnostics.h"

#include <optional>
#include <string_view>

namespace attn::spec {

// Checks a parsed file. Absent if any error was reported.
std::optional<CheckedSpec> checkSpec(const ast::File &file, Diagnostics &diagnostics);

// Lexes, parses and checks `text`. `fileName` is for messages only; nothing is
// read from disk. Absent if any error was reported.
std::optional<CheckedSpec> parseAndCheck(std::string_view text, std::string_view fileName,
                                         Diagnostics &diagnostics);

// Renders an expression in the spec language, for messages, explain and tests.
std::string toString(const AttentionSpec &spec, const Expr &expr);

// Renders a checked attention, every call expanded, for tests and `--stop-after=spec`.
std::string toString(const AttentionSpec &spec);

} // namespace attn::spec
