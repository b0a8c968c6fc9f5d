// What a spec declares beside its mask and score, which are compared with definitions.
#pragma once

#include "compiler/spec/Print.h"

#include <sstream>

namespace attn::spec {

inline std::string declarationsOf(const AttentionSpec &spec) {
  std::istringstream lines(toString(spec));
  std::string kept;
  for (std::string line; std::getline(lines, line);)
    if (!line.starts_with("  mask ") && !line.starts_with("  score "))
      kept += line + "\n";
  return kept;
}

} // namespace attn::spec
