// The arithmetic of the language: 32-bit wrap-around, floor division, shifts,
// conversions, clamped table reads, and score functions.
#include "tests/oracle/support.h"

#include <climits>

namespace attn::oracle {
namespace {

TEST(Arithmetic, floorDivisionFollowsTheDivisor) {
  EXPECT_EQ(floorDiv(7, 2), 3);
  EXPECT_EQ(floorDiv(-7, 2), -4);
  EXPECT_EQ(floorDiv(7, -2), -4);
  EXPECT_EQ(floorDiv(-7, -2), 3);
  EXPECT_EQ(floorMod(-7, 3), 2);
  EXPECT_EQ(floorMod(7, -3), -2);
  EXPECT_EQ(floorDiv(5, 0), 0);
  EXPECT_EQ(floorMod(5, 0), 0);
  EXPECT_EQ(floorDiv(INT_MIN, -1), INT_MIN);
  EXPECT_EQ(floorMod(INT_MIN, -1), 0);
}

// mask `EXPR == k.i` evaluated through scoreAt: the value of an integer
// expression of q.i.
double valueAt(const std::string &expression, int q, int k = 0) {
  auto spec = tokens("i: stream", "  mask all\n  score float(" + expression + ") + 0 * s");
  return scoreAt(spec, {}, 0, 0, q, k, 0.0);
}

TEST(Arithmetic, integersWrap) {
  EXPECT_EQ(valueAt("q.i + 1", INT_MAX), double(INT_MIN));
  EXPECT_EQ(valueAt("q.i * 65536", 65536), 0);
  EXPECT_EQ(valueAt("q.i * 3", INT_MAX), double(INT_MAX - 2));
  EXPECT_EQ(valueAt("abs(q.i)", INT_MIN), double(INT_MIN));
  EXPECT_EQ(valueAt("-q.i", INT_MIN), double(INT_MIN));
}

TEST(Arithmetic, bitsAndShifts) {
  EXPECT_EQ(valueAt("(q.i ^ k.i) & 255", 0x1f3, 0x0a1), (0x1f3 ^ 0x0a1) & 255);
  EXPECT_EQ(valueAt("q.i | 8", 5), 13);
  EXPECT_EQ(valueAt("~q.i", 5), -6);
  EXPECT_EQ(valueAt("q.i << k.i", 3, 4), 48);
  EXPECT_EQ(valueAt("q.i << k.i", 3, 33), 6); // the amount is taken modulo 32
  EXPECT_EQ(valueAt("q.i << 31", 1), double(INT_MIN));
  EXPECT_EQ(valueAt("q.i >> 1", -3), -2);
}

TEST(Arithmetic, runTimeDivisionByZeroIsZero) {
  EXPECT_EQ(valueAt("q.i // k.i", 5, 0), 0);
  EXPECT_EQ(valueAt("q.i % k.i", 5, 0), 0);
}

TEST(Arithmetic, conversions) {
  auto convert = [](const std::string &e, double s) {
    return scoreAt(tokens("i: stream", "  mask all\n  score float(int(" + e + "))"), {}, 0, 0, 0, 0,
                   s);
  };
  EXPECT_EQ(convert("s", 2.9), 2);
  EXPECT_EQ(convert("s", -2.9), -2);
  EXPECT_EQ(convert("floor(s)", -2.9), -3);
  EXPECT_EQ(convert("ceil(s)", 2.1), 3);
  EXPECT_EQ(convert("s", 1e300), double(INT_MAX));
  EXPECT_EQ(convert("s", -1e300), double(INT_MIN));
  EXPECT_EQ(convert("s", std::nan("")), 0);
  EXPECT_EQ(convert("s > 1", 2), 1);
}

TEST(Arithmetic, tablesAreClamped) {
  auto spec = tokens("i: stream", "  table t[2, 3]: f32\n  mask all\n  score s + t[q.i, k.i]");
  Bindings bindings;
  bindings.tables = {TableData{{2, 3}, {1, 2, 3, 4, 5, 6}}};
  EXPECT_EQ(scoreAt(spec, bindings, 0, 0, 1, 2, 0), 6);
  EXPECT_EQ(scoreAt(spec, bindings, 0, 0, 9, 9, 0), 6);
  EXPECT_EQ(scoreAt(spec, bindings, 0, 0, -4, 1, 0), 2);
}

TEST(Scores, softcapAndAlibi) {
  auto cap = tokens("i: stream", "  mask all\n  score softcap(s, 30)");
  EXPECT_DOUBLE_EQ(scoreAt(cap, {}, 0, 0, 0, 0, 45.0), 30 * std::tanh(1.5));
  auto alibi = tokens("i: stream", "  mask all\n  score s + alibi(i)", "heads 8 dim 8");
  Bindings bindings;
  bindings.heads = 8;
  EXPECT_DOUBLE_EQ(scoreAt(alibi, bindings, 0, 2, 9, 4, 1.0),
                   1.0 + (4 - 9) * std::exp2(-8.0 * 3 / 8));
}

// FlexAttention's test functions, each from its definition.
TEST(Scores, published) {
  struct Case {
    const char *text;
    double (*expected)(double s, int b, int h, int q, int k);
  };
  const Case cases[] = {
      {"2 * s", [](double s, int, int, int, int) { return 2 * s; }},
      {"s * s", [](double s, int, int, int, int) { return s * s; }},
      {"s + (q.i - k.i)", [](double s, int, int, int q, int k) { return s + (q - k); }},
      {"s - q.i // (1 + k.i)", [](double s, int, int, int q, int k) { return s - q / (1 + k); }},
      {"sin(cos(s)) + cos(batch)",
       [](double s, int b, int, int, int) { return std::sin(std::cos(s)) + std::cos(b); }},
      {"s * sigmoid(s)", [](double s, int, int, int, int) { return s / (1 + std::exp(-s)); }},
      {"s - exp2(-float(head + 1)) * abs(q.i - k.i)",
       [](double s, int, int h, int q, int k) {
         return s - std::pow(2.0, -(h + 1)) * std::abs(q - k);
       }},
      {"s + ((q.i ^ k.i) & 255) * 0.001",
       [](double s, int, int, int q, int k) { return s + ((q ^ k) & 255) * 0.001; }},
      {"if q.i >= k.i then s else -1000",
       [](double s, int, int, int q, int k) { return q >= k ? s : -1000.0; }},
      {"log(exp(s) + 2)", [](double s, int, int, int, int) { return std::log(std::exp(s) + 2); }},
      {"s + sum(n in 0..3: cos((q.i - k.i) / exp2(float(n))))",
       [](double s, int, int, int q, int k) {
         for (int n = 0; n < 4; ++n)
           s += std::cos((q - k) / std::pow(2.0, n));
         return s;
       }},
  };
  for (const Case &c : cases) {
    auto spec = tokens("i: stream", std::string("  mask all\n  score ") + c.text);
    for (int q : {0, 3, 300})
      for (int k : {0, 5, 77})
        EXPECT_NEAR(scoreAt(spec, {}, 2, 3, q, k, 0.7), c.expected(0.7, 2, 3, q, k), 1e-12)
            << c.text;
  }
}

} // namespace
} // namespace attn::oracle
