// Expressions: precedence, typing, folding, and what names stand for, seen
// through the printed form.
#include "tests/spec/support.h"

namespace attn::spec {
namespace {

std::string mask(const std::string &expression, const std::string &more = "") {
  AttentionSpec spec = accepted(overTokens(more + "  mask " + expression));
  return spec.mask ? toString(spec, *spec.mask) : "";
}
std::string score(const std::string &expression, const std::string &more = "") {
  AttentionSpec spec = accepted(overTokens(more + "  mask all\n  score " + expression));
  return spec.score ? toString(spec, *spec.score) : "s";
}

TEST(Expression, precedence) {
  EXPECT_EQ(mask("q.i == 1 or q.i == 2 and k.i == 3"),
            "q.tok.i == 1 or q.tok.i == 2 and k.tok.i == 3");
  EXPECT_EQ(mask("(q.i == 1 or q.i == 2) and k.i == 3"),
            "(q.tok.i == 1 or q.tok.i == 2) and k.tok.i == 3");
  EXPECT_EQ(mask("not q.i == 1 and k.i == 2"), "not q.tok.i == 1 and k.tok.i == 2");
  EXPECT_EQ(mask("q.i + k.i * 2 // 3 % 5 == -q.i"), "q.tok.i + k.tok.i * 2 // 3 % 5 == -q.tok.i");
  EXPECT_EQ(mask("(q.i ^ k.i) & 255 | 1 << 3 > 4"), "(q.tok.i ^ k.tok.i) & 255 | 8 > 4");
  EXPECT_EQ(mask("q.i - (k.i - 1) > 0"), "q.tok.i - (k.tok.i - 1) > 0");
}

TEST(Expression, foldsConstants) {
  EXPECT_EQ(mask("q.i < 2 + 3 * 4"), "q.tok.i < 14");
  EXPECT_EQ(mask("q.i < -7 // 2"), "q.tok.i < -4");
  EXPECT_EQ(mask("q.i < -7 % 3"), "q.tok.i < 2");
  EXPECT_EQ(mask("q.i < 7 % -3"), "q.tok.i < -2");
  EXPECT_EQ(mask("q.i < min(3, 2, 5) + max(1, 2)"), "q.tok.i < 4");
  EXPECT_EQ(mask("q.i < clamp(9, 0, 4)"), "q.tok.i < 4");
  EXPECT_EQ(mask("1 < 2 and q.i < 3"), "q.tok.i < 3");
  EXPECT_EQ(mask("all"), "true");
  EXPECT_EQ(mask("q.i >= -2147483648"), "q.tok.i >= -2147483648");
  EXPECT_EQ(mask("q.i == 0x1F"), "q.tok.i == 31");
  EXPECT_EQ(mask("q.i < N * 2", "  const M = 3, N = M + 1\n"), "q.tok.i < 8");
  EXPECT_EQ(mask("q.i < int(floor(2.5 * 3))"), "q.tok.i < 7");
}

TEST(Expression, convertsIntegersToNumbers) {
  EXPECT_EQ(score("s + (k.i - q.i)"), "s + float(k.tok.i - q.tok.i)");
  EXPECT_EQ(score("s + 1 / 2"), "s + 0.5");
  EXPECT_EQ(score("s + head / heads"), "s + float(head) / float(heads)");
  EXPECT_EQ(score("if q.i > 3 then s else 0"), "if q.tok.i > 3 then s else 0.0");
}

TEST(Expression, scoreOfSAloneIsNone) { EXPECT_EQ(score("s"), "s"); }

TEST(Expression, reductionsAreWrittenOut) {
  EXPECT_EQ(mask("any(n in 1..3: q.i == k.i + n)"),
            "q.tok.i == k.tok.i + 1 or q.tok.i == k.tok.i + 2 or q.tok.i == k.tok.i + 3");
  EXPECT_EQ(mask("every(n in 0..1: q.i != n)"), "q.tok.i != 0 and q.tok.i != 1");
  EXPECT_EQ(mask("sum(n in 1..3: q.i * n) > 4"), "q.tok.i + q.tok.i * 2 + q.tok.i * 3 > 4");
}

TEST(Expression, tablesAreGathered) {
  EXPECT_EQ(mask("bias[bias[q.i]] > k.i", "  table bias[64]: i32\n"),
            "bias[bias[q.tok.i]] > k.tok.i");
  EXPECT_EQ(score("s * gain[head] + rel[head, q.i - k.i + 8]",
                  "  table gain[head]: f32\n  table rel[head, 17]: bf16\n"),
            "s * gain[head] + rel[head, q.tok.i - k.tok.i + 8]");
}

TEST(Expression, letsStandForTheirValue) {
  EXPECT_EQ(score("d * 2 + s", "  let d = k.i - q.i\n"), "float((k.tok.i - q.tok.i) * 2) + s");
  AttentionSpec spec =
      accepted(overTokens("  let a = q.i + 1\n  let b = a * a\n  mask b > k.i\n  score s + b"));
  EXPECT_EQ(toString(spec, *spec.mask), "(q.tok.i + 1) * (q.tok.i + 1) > k.tok.i");
}

TEST(Expression, userPatternsExpandAndStayVisible) {
  AttentionSpec spec = accepted("pattern near(a: axis, n = 2) = abs(q.a - k.a) <= n\n" +
                                overTokens("  mask near(i) or near(i, 5)"));
  EXPECT_EQ(toString(spec, *spec.mask), "near(i, 2) or near(i, 5)");
  EXPECT_EQ(toString(spec, *spec.mask, true),
            "abs(q.tok.i - k.tok.i) <= 2 or abs(q.tok.i - k.tok.i) <= 5");
  EXPECT_FALSE(spec.mask->operands[0]->pattern().standard);
}

TEST(Expression, axesOfOneCallAreAnded) {
  AttentionSpec spec =
      accepted("attention a {\n  space g(y: 8, x: 8)\n  query g\n  keys g\n  heads 1 dim 8\n"
               "  mask band(y: 1, x: 2 after 3)\n}\n");
  EXPECT_EQ(toString(spec, *spec.mask), "band(y, 1, 0) and band(x, 2, 3)");
}

TEST(Expression, integersOutsideAreErrors) {
  EXPECT_EQ(firstError(overTokens("  mask q.i < 2147483648")), "number_c1");
  EXPECT_EQ(firstError(overTokens("  mask q.i < 1 << 31")), "number_c1");
  EXPECT_EQ(firstError(overTokens("  mask q.i < 99999999999999999999")), "number_c1");
  EXPECT_EQ(firstError(overTokens("  mask q.i < int(3e9)")), "number_c1");
}

} // namespace
} // namespace attn::spec
