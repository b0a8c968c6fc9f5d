// Every shipped spec is accepted and means what printed/NAME.txt says: each
// declaration, default and resolved clause, and the mask written out.
#include "tests/spec/support.h"

#include "compiler/spec/Parser.h"
#include "compiler/spec/StandardLibrary.h"

namespace attn::spec {
namespace {

std::string printed(const AttentionSpec &spec) {
  std::string text = toString(spec) + "mask = " + toString(spec, *spec.mask, true) + "\n";
  if (spec.score)
    text += "score = " + toString(spec, *spec.score, true) + "\n";
  return text;
}

TEST(ShippedSpecs, areAcceptedAndPrinted) {
  std::filesystem::path printedFolder = std::filesystem::path(ATTN_SPEC_TESTS_DIR) / "printed";
  for (const auto &path : specFiles(ATTN_SPECS_DIR)) {
    Diagnostics diagnostics;
    auto spec = parseAndCheck(readFile(path), path.filename().string(), diagnostics);
    ASSERT_TRUE(spec) << diagnostics.render();
    ASSERT_EQ(spec->attentions.size(), 1u) << path;
    EXPECT_EQ(spec->attentions[0].name, path.stem().string());
    auto expected = printedFolder / (path.stem().string() + ".txt");
    EXPECT_EQ(printed(spec->attentions[0]), readFile(expected)) << path;
  }
}

// The comment above says what attends what; style asks for it.
TEST(ShippedSpecs, startWithAComment) {
  for (const auto &path : specFiles(ATTN_SPECS_DIR))
    EXPECT_EQ(readFile(path).substr(0, 2), "# ") << path;
}

// Each attention is in the list that printed/ holds, and nothing else is.
TEST(ShippedSpecs, leaveNoStalePrint) {
  size_t prints = 0;
  for (const auto &entry :
       std::filesystem::directory_iterator(std::filesystem::path(ATTN_SPEC_TESTS_DIR) / "printed"))
    prints += entry.path().extension() == ".txt";
  EXPECT_EQ(prints, specFiles(ATTN_SPECS_DIR).size());
}

TEST(StandardLibrary, isEmbeddedWholeAndParses) {
  auto files = specFiles(std::filesystem::path(ATTN_SPECS_DIR) / "std");
  ASSERT_EQ(standardLibrary().size(), files.size());
  for (size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(standardLibrary()[i].name, "std/" + files[i].filename().string());
    EXPECT_EQ(standardLibrary()[i].text, readFile(files[i]));
    Diagnostics diagnostics;
    diagnostics.setSource(standardLibrary()[i].name, standardLibrary()[i].text);
    ast::File file = parseSpec(standardLibrary()[i].text, 0, diagnostics);
    EXPECT_FALSE(diagnostics.hasErrors()) << diagnostics.render();
    EXPECT_FALSE(file.patterns.empty());
  }
}

// A new standard pattern must be exercised here: each is called once and must
// expand without an error.
TEST(StandardLibrary, everyPatternExpands) {
  const std::vector<std::string> calls = {"causal(x)",
                                          "prefix_lm(x, 3)",
                                          "block_causal(x, 4)",
                                          "window(x, 3)",
                                          "band(x, 3, 1)",
                                          "dilated(x, 6, 2)",
                                          "causal_dilated(x, 6, 2)",
                                          "sink(x, 1)",
                                          "prefix(x, 2)",
                                          "same(x)",
                                          "chunked(x, 4)",
                                          "strided(x, 4)",
                                          "neighborhood(x, 5)",
                                          "causal_neighborhood(x, 5)",
                                          "natten_leader(q.x, 2, 1, 16) > 0",
                                          "radial(y, x, 16)",
                                          "bit_length(q.x) > 1",
                                          "softcap(q.x, 2) > 0",
                                          "alibi(x) > 0"};
  std::string all;
  for (size_t i = 0; i < standardLibrary().size(); ++i) {
    Diagnostics diagnostics;
    for (const ast::Pattern &pattern :
         parseSpec(standardLibrary()[i].text, 0, diagnostics).patterns) {
      bool found = false;
      for (const std::string &call : calls)
        found |= call.compare(0, pattern.name.text.size() + 1, pattern.name.text + "(") == 0;
      EXPECT_TRUE(found) << pattern.name.text << " is not exercised";
    }
  }
  for (const std::string &call : calls)
    accepted("attention a {\n  space grid(y: 16, x: 16)\n  query grid\n  keys grid\n"
             "  heads 4 dim 64\n  mask " +
             call + "\n}\n");
}

} // namespace
} // namespace attn::spec
