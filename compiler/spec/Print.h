// Renders checked specs as text, for tests, explain and messages.
#pragma once

#include "compiler/spec/CheckedSpec.h"

#include <string>

namespace attn::spec {

// The expression in the language's own words. Pattern calls are shown as calls,
// or, with `expand`, as what they mean.
std::string toString(const AttentionSpec &spec, const Expr &expr, bool expand = false);

// Every declaration and clause, one a line, in a fixed order, defaults included.
std::string toString(const AttentionSpec &spec);

std::string_view elementName(Element element);

} // namespace attn::spec
