// Takes the syntax tree of one file and yields the checked spec, or reports
// every constraint that it breaks. parseAndCheck is the whole front end.
#pragma once

#include "compiler/spec/Ast.h"
#include "compiler/spec/CheckedSpec.h"
#include "compiler/spec/Diagnostics.h"

#include <optional>
#include <string>
#include <string_view>

namespace attn::spec {

// Checks a parsed file; `text` is its source. Absent if any error was reported.
std::optional<CheckedSpec> checkSpec(const ast::File &file, std::string_view text,
                                     Diagnostics &diagnostics);

// Lexes, parses and checks `text`. `fileName` is for messages only; nothing is
// read from disk. Absent if any error was reported.
std::optional<CheckedSpec> parseAndCheck(std::string_view text, std::string_view fileName,
                                         Diagnostics &diagnostics);

// Which file of the standard library an absolute path is that of, "std/NAME.attn", if any.
std::optional<size_t> findStandardFile(std::string_view path);

// Checks a version of standard file `which`, beside the others: as far as patterns can be
// checked that nothing calls. Gives their number.
size_t checkStandardFile(size_t which, std::string_view text, std::string_view fileName,
                         Diagnostics &diagnostics);

} // namespace attn::spec
