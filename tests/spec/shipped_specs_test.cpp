// Every shipped spec is accepted and means what printed/NAME.txt says: each
// declaration, default and resolved clause, and the mask written out. Published specs
// declare what declared/FOLDER.txt says; their masks and scores have definitions.
#include "tests/spec/declarations.h"
#include "tests/spec/support.h"

#include "compiler/spec/Parser.h"
#include "compiler/spec/StandardLibrary.h"

#include <map>

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

// Of published patterns.
std::vector<std::filesystem::path> folders() {
  std::vector<std::filesystem::path> found;
  for (const auto &folder : std::filesystem::directory_iterator(ATTN_SPECS_DIR))
    if (folder.is_directory() && folder.path().filename() != "std")
      found.push_back(folder.path());
  return found;
}

// Those of specs/ itself and of the folders.
std::vector<std::filesystem::path> allSpecs() {
  std::vector<std::filesystem::path> files = specFiles(ATTN_SPECS_DIR);
  for (const auto &folder : folders())
    for (const auto &path : specFiles(folder))
      files.push_back(path);
  return files;
}

// ATTN_WRITE_DECLARED=1 writes the texts anew, to be read before they are kept.
TEST(ShippedSpecs, publishedOnesDeclareWhatIsWritten) {
  for (const auto &folder : folders()) {
    std::string text;
    for (const auto &path : specFiles(folder)) {
      Diagnostics diagnostics;
      auto spec = parseAndCheck(readFile(path), path.string(), diagnostics);
      ASSERT_TRUE(spec) << diagnostics.render();
      text += declarationsOf(spec->attentions[0]);
    }
    auto written = std::filesystem::path(ATTN_SPEC_TESTS_DIR) / "declared" /
                   (folder.filename().string() + ".txt");
    if (std::getenv("ATTN_WRITE_DECLARED"))
      std::ofstream(written) << text;
    EXPECT_EQ(text, readFile(written)) << folder;
  }
}

TEST(ShippedSpecs, publishedOnesAreAccepted) {
  EXPECT_GT(allSpecs().size(), 150u);
  for (const auto &path : allSpecs()) {
    Diagnostics diagnostics;
    auto spec = parseAndCheck(readFile(path), path.string(), diagnostics);
    ASSERT_TRUE(spec) << diagnostics.render();
    ASSERT_EQ(spec->attentions.size(), 1u) << path;
    EXPECT_EQ(spec->attentions[0].name, path.stem().string());
  }
}

// The comment above says what attends what; style asks for it.
TEST(ShippedSpecs, startWithAComment) {
  for (const auto &path : allSpecs())
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

std::string overGrid(const std::string &mask) {
  return "attention a {\n  space grid(y: 16, x: 16)\n  query grid\n  keys grid\n"
         "  heads 4 dim 64\n  mask " +
         mask + "\n}\n";
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
                                          "document(y, x)",
                                          "shared_prefix(y, x, 2)",
                                          "shifted_chunked(x, 4, 2)",
                                          "cyclic_chunked(x, 4, 2)",
                                          "sliding_tile(x, 5)",
                                          "clamped_band(x, 5, 16)",
                                          "block_diffusion(x, y)",
                                          "svg_spatial(x, 2, 3)",
                                          "svg_temporal(x, 2, 4, 1)",
                                          "even_bits(q.x) > 0",
                                          "gelu(q.x) > 0",
                                          "erf(q.x) > 0",
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
    accepted(overGrid(call));
}

// What a pattern requires is refused under the requirement's label; a new one
// must be broken here.
TEST(StandardLibrary, everyRequirementIsChecked) {
  const std::map<std::string, std::string> broken = {
      {"window_c1", "window(x, 0)"},
      {"band_c1", "band(x, 0, -1)"},
      {"dilated_c1", "dilated(x, 4, 0)"},
      {"causal_dilated_c1", "causal_dilated(x, 0, 1)"},
      {"sink_c1", "sink(x, -1)"},
      {"prefix_c1", "prefix(x, -1)"},
      {"prefix_lm_c1", "prefix_lm(x, -1)"},
      {"block_causal_c1", "block_causal(x, 0)"},
      {"chunked_c1", "chunked(x, 0)"},
      {"strided_c1", "strided(x, 0)"},
      {"shifted_chunked_c1", "shifted_chunked(x, 0, 1)"},
      {"cyclic_chunked_c1", "cyclic_chunked(x, 0, 1)"},
      {"neighborhood_c1", "neighborhood(x, 4, 1, 0)"},
      {"neighborhood_c2", "neighborhood(x, 4, 5)"},
      {"neighborhood_c3", "neighborhood(x, 9, 1, 2)"},
      {"causal_neighborhood_c1", "causal_neighborhood(x, 0)"},
      {"causal_neighborhood_c2", "causal_neighborhood(x, 4, 5)"},
      {"sliding_tile_c1", "sliding_tile(x, 0)"},
      {"clamped_band_c1", "clamped_band(x, 0, 16)"},
      {"radial_c1", "radial(y, x, 0)"},
      {"radial_c2", "radial(y, x, 16, 0.0)"},
      {"svg_spatial_c1", "svg_spatial(x, -1, 3)"},
      {"svg_temporal_c1", "svg_temporal(x, 2, 0, 1)"},
      {"softcap_c1", "softcap(q.x, 0) > 0"}};
  for (const auto &file : standardLibrary()) {
    Diagnostics diagnostics;
    for (const ast::Pattern &pattern : parseSpec(file.text, 0, diagnostics).patterns)
      for (const ast::Requirement &requirement : pattern.requirements)
        EXPECT_TRUE(broken.count(requirement.label.text)) << requirement.label.text;
  }
  for (const auto &[label, call] : broken) {
    Diagnostics diagnostics;
    EXPECT_FALSE(parseAndCheck(overGrid(call), "test.attn", diagnostics)) << call;
    ASSERT_EQ(diagnostics.all().size(), 1u) << call << diagnostics.render();
    EXPECT_EQ(diagnostics.all()[0].id, DiagnosticId::pattern_c6);
    EXPECT_EQ(diagnostics.all()[0].message.substr(0, label.size() + 2), label + ": ");
  }
}

} // namespace
} // namespace attn::spec
