// Hostile input: mutated shipped specs, binary noise and deep nesting are
// accepted or rejected, but never crash, hang or leave a message without place.
#include "tests/spec/support.h"

#include <ctime>
#include <random>

namespace attn::spec {
namespace {

void mustSurvive(const std::string &text) {
  Diagnostics diagnostics;
  auto spec = parseAndCheck(text, "x.attn", diagnostics);
  EXPECT_EQ(spec.has_value(), !diagnostics.hasErrors()) << text;
  std::string rendered = diagnostics.render();
  for (const Diagnostic &d : diagnostics.all())
    EXPECT_TRUE(d.range.valid()) << d.message << "\n" << text;
  if (spec)
    for (const AttentionSpec &attention : spec->attentions) {
      ASSERT_TRUE(attention.mask);
      toString(attention);
    }
}

TEST(Mutation, shippedSpecsNeverCrash) {
  std::mt19937 random(11);
  std::vector<std::string> texts;
  for (const auto &path : specFiles(ATTN_SPECS_DIR))
    texts.push_back(readFile(path));
  for (const auto &path : specFiles(std::filesystem::path(ATTN_SPEC_TESTS_DIR) / "fail"))
    texts.push_back(readFile(path));
  auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  const std::string alphabet = "(){}[]<>=+-*/%.,:;#|&^~ \n019axqktis";
  for (int round = 0; round < 3000; ++round) {
    std::string text = texts[below(texts.size())];
    size_t edits = 1 + below(6);
    for (size_t i = 0; i < edits && !text.empty(); ++i) {
      size_t at = below(text.size()), length = 1 + below(12);
      switch (below(5)) {
      case 0:
        text[at] = alphabet[below(alphabet.size())];
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(below(text.size()), length));
        break;
      case 3:
        text.insert(at, std::string(1, alphabet[below(alphabet.size())]));
        break;
      case 4: { // exchange a word for one of another spec
        const std::string &other = texts[below(texts.size())];
        text.replace(at, length, other.substr(below(other.size()), length));
        break;
      }
      }
    }
    mustSurvive(text);
  }
}

TEST(Mutation, truncationsNeverCrash) {
  for (const auto &path : specFiles(ATTN_SPECS_DIR)) {
    std::string text = readFile(path);
    for (size_t length = 0; length < text.size(); length += 7)
      mustSurvive(text.substr(0, length));
  }
}

TEST(Mutation, binaryNoiseNeverCrashes) {
  std::mt19937 random(5);
  for (int round = 0; round < 300; ++round) {
    std::string text(static_cast<size_t>(random() % 400), '\0');
    for (char &c : text)
      c = static_cast<char>(random());
    mustSurvive(text);
    mustSurvive(overTokens("  mask " + text));
  }
}

std::string repeated(const std::string &part, int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += part;
  return text;
}

TEST(Mutation, nestingIsBounded) {
  for (const char *open :
       {"(", "not ", "-", "~", "abs(", "if ", "min(1, ", "q.i + (", "q.i[", "sum(n in 0..1: "})
    mustSurvive(overTokens("  mask " + repeated(open, 20000) + "1"));
  mustSurvive(overTokens("  mask q.i" + repeated(" + 1", 20000) + " > 0"));
  mustSurvive(overTokens("  mask q.i" + repeated(" - k.i", 5000) + " > 0"));
  mustSurvive(repeated("attention a {", 5000));
  mustSurvive("attention a {" + repeated("cache i {", 5000));
}

TEST(Mutation, expansionIsBounded) {
  // Lets that double, patterns that double, reductions in reductions.
  std::string lets = "  let a0 = q.i\n", patterns = "pattern p0(x) = x\n";
  for (int i = 1; i < 60; ++i) {
    std::string n = std::to_string(i), m = std::to_string(i - 1);
    lets += "  let a" + n + " = a" + m + " + a" + m + "\n";
    patterns += "pattern p" + n + "(x) = p" + m + "(x) + p" + m + "(x)\n";
  }
  std::clock_t start = std::clock(); // processor time: the machine may be busy
  EXPECT_EQ(firstError(overTokens(lets + "  mask a59 > 0")), "expr_c2");
  EXPECT_EQ(firstError(patterns + overTokens("  mask p59(q.i) > 0")), "expr_c2");
  EXPECT_EQ(firstError(patterns + overTokens("  mask p59(1) > 0")), "expr_c2");
  std::string sums = "q.i";
  for (int i = 0; i < 12; ++i)
    sums = "sum(n in 0..63: " + sums + ")";
  EXPECT_EQ(firstError(overTokens("  mask " + sums + " > 0")), "expr_c2");
  // A chain of lets is deep, not big.
  lets = "  let a0 = q.i\n";
  for (int i = 1; i < 3000; ++i)
    lets += "  let a" + std::to_string(i) + " = a" + std::to_string(i - 1) + " + 1\n";
  EXPECT_EQ(firstError(overTokens(lets + "  mask a2999 > 0")), "expr_c2");
  EXPECT_LT(std::clock() - start, 10 * CLOCKS_PER_SEC);
}

TEST(Mutation, derivedAxisChainsAreBounded) {
  std::string axes = "  axis a0 = tok.i\n";
  for (int i = 1; i < 400; ++i)
    axes += "  axis a" + std::to_string(i) + " = a" + std::to_string(i - 1) + " + a" +
            std::to_string(i - 1) + "\n";
  mustSurvive(overTokens(axes + "  mask causal(a399)"));
}

} // namespace
} // namespace attn::spec
