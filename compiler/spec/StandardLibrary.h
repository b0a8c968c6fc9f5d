// The standard patterns, specs/std/*.attn, as text embedded at build time.
// Nothing is read from disk at run time.
#pragma once

#include <string_view>
#include <vector>

namespace attn::spec {

struct StandardFile {
  std::string_view name; // "std/causal.attn"
  std::string_view text;
};

// In alphabetical order. Patterns may call patterns of any of the files.
const std::vector<StandardFile> &standardLibrary();

} // namespace attn::spec
