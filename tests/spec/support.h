// What the spec tests share: reading files of the source tree, and checking a
// spec that must be right.
#pragma once

#include "compiler/spec/Check.h"
#include "compiler/spec/Print.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <vector>

namespace attn::spec {

inline std::string readFile(const std::filesystem::path &path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The `.attn` files of a folder, by name.
inline std::vector<std::filesystem::path> specFiles(const std::filesystem::path &folder) {
  std::vector<std::filesystem::path> files;
  for (const auto &entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".attn")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// An attention over `space tok(i: stream)`, with `clauses` added; fails the test
// if it is rejected.
inline AttentionSpec accepted(const std::string &text) {
  Diagnostics diagnostics;
  std::optional<CheckedSpec> spec = parseAndCheck(text, "test.attn", diagnostics);
  EXPECT_TRUE(spec.has_value()) << diagnostics.render();
  return spec ? spec->attentions[0] : AttentionSpec{};
}

inline std::string overTokens(const std::string &clauses, const std::string &extent = "stream") {
  return "attention test {\n  space tok(i: " + extent +
         ")\n  query tok\n  keys tok\n  heads 4 dim 64\n" + clauses + "\n}\n";
}

// The one diagnostic's label, or "" if the text is accepted.
inline std::string firstError(const std::string &text) {
  Diagnostics diagnostics;
  if (parseAndCheck(text, "test.attn", diagnostics))
    return "";
  return std::string(diagnosticName(diagnostics.all().front().id));
}

} // namespace attn::spec
