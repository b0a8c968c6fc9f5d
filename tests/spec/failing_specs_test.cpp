// Every file of fail/ is rejected with exactly the diagnostics that its
// `# expect LINE:COLUMN LABEL MESSAGE` lines state, and every diagnostic of the
// registry has such a file.
#include "tests/spec/support.h"

#include <set>

namespace attn::spec {
namespace {

const std::filesystem::path failFolder = std::filesystem::path(ATTN_SPEC_TESTS_DIR) / "fail";

std::vector<std::string> expectations(const std::string &text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  const std::string mark = "# expect ";
  for (std::string line; std::getline(stream, line);)
    if (line.compare(0, mark.size(), mark) == 0)
      lines.push_back(line.substr(mark.size()));
  return lines;
}

std::vector<std::string> reported(const Diagnostics &diagnostics) {
  std::vector<std::string> lines;
  for (const Diagnostic &d : diagnostics.all())
    lines.push_back(std::to_string(d.range.line) + ":" + std::to_string(d.range.column) + " " +
                    std::string(diagnosticName(d.id)) + " " + d.message);
  return lines;
}

TEST(FailingSpecs, reportWhatTheyExpect) {
  for (const auto &path : specFiles(failFolder)) {
    std::string text = readFile(path);
    Diagnostics diagnostics;
    EXPECT_FALSE(parseAndCheck(text, path.filename().string(), diagnostics)) << path;
    EXPECT_EQ(reported(diagnostics), expectations(text)) << path;
    EXPECT_FALSE(expectations(text).empty()) << path;
  }
}

TEST(FailingSpecs, areNamedAfterTheirLabel) {
  for (const auto &path : specFiles(failFolder)) {
    std::string stem = path.stem().string();
    for (size_t i = 0; i < diagnosticCount(); ++i)
      if (stem == diagnosticName(static_cast<DiagnosticId>(i))) {
        Diagnostics diagnostics;
        parseAndCheck(readFile(path), "x.attn", diagnostics);
        bool found = false;
        for (const Diagnostic &d : diagnostics.all())
          found |= static_cast<size_t>(d.id) == i;
        EXPECT_TRUE(found) << path;
      }
  }
}

TEST(FailingSpecs, coverEveryDiagnostic) {
  std::set<std::string> names{"file_c1"}; // has its own test below
  for (const auto &path : specFiles(failFolder))
    names.insert(path.stem().string());
  for (size_t i = 0; i < diagnosticCount(); ++i) {
    std::string name(diagnosticName(static_cast<DiagnosticId>(i)));
    EXPECT_TRUE(names.count(name)) << "no fail/" << name << ".attn";
  }
}

TEST(FailingSpecs, documentEveryDiagnostic) {
  std::string reference = readFile(std::filesystem::path(ATTN_SPECS_DIR) / "LANGUAGE.md");
  for (size_t i = 0; i < diagnosticCount(); ++i) {
    std::string name(diagnosticName(static_cast<DiagnosticId>(i)));
    EXPECT_NE(reference.find("| `" + name + "` |"), std::string::npos)
        << name << " is not in LANGUAGE.md";
  }
}

// Lower case, no period: one tone for all messages.
TEST(FailingSpecs, keepTheTone) {
  for (size_t i = 0; i < diagnosticCount(); ++i) {
    std::string text(diagnosticText(static_cast<DiagnosticId>(i)));
    EXPECT_FALSE(text.empty());
    EXPECT_NE(text.back(), '.') << text;
    EXPECT_FALSE(text[0] >= 'A' && text[0] <= 'Z') << text;
  }
}

TEST(FailingSpecs, oversizedTextIsRefused) {
  Diagnostics diagnostics;
  std::string text(256 * 1024 + 1, ' ');
  EXPECT_FALSE(parseAndCheck(text, "big.attn", diagnostics));
  ASSERT_EQ(diagnostics.all().size(), 1u);
  EXPECT_EQ(diagnostics.all()[0].message,
            "the spec is 262145 bytes long; at most 262144 are allowed");
}

TEST(FailingSpecs, renderPlaceLineAndCaret) {
  Diagnostics diagnostics;
  parseAndCheck(overTokens("  mask window(i, 0)"), "x.attn", diagnostics);
  EXPECT_EQ(diagnostics.render(),
            "x.attn:6:8: error: window_c1: pattern `window` requires `n >= 1`, but n is 0\n"
            "    mask window(i, 0)\n"
            "         ^~~~~~~~~~~~\n");
}

TEST(FailingSpecs, renderNotesInsideAStandardPattern) {
  Diagnostics diagnostics;
  parseAndCheck(overTokens("  mask neighborhood(i, 3)"), "x.attn", diagnostics);
  std::string text = diagnostics.render();
  EXPECT_NE(text.find("x.attn:6:8: error: "), std::string::npos) << text;
  EXPECT_NE(text.find("std/neighborhood.attn:"), std::string::npos) << text;
  EXPECT_NE(text.find("note: in pattern `neighborhood`"), std::string::npos) << text;
}

TEST(FailingSpecs, floodIsCounted) {
  std::string clauses;
  for (int i = 0; i < 300; ++i)
    clauses += "  nonsense" + std::to_string(i) + "\n  emit map\n";
  Diagnostics diagnostics;
  parseAndCheck(overTokens(clauses), "x.attn", diagnostics);
  EXPECT_EQ(diagnostics.errorCount(), 300u);
  EXPECT_EQ(diagnostics.all().size(), 100u);
  EXPECT_NE(diagnostics.render().find("200 more errors"), std::string::npos);
}

} // namespace
} // namespace attn::spec
