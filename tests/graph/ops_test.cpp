// Operators against their definitions written as plain loops.
#include "runtime/base/half.h"
#include "runtime/ops/bf16_unit.h"
#include "runtime/ops/isa.h"
#include "runtime/ops/matmul.h"
#include "tests/graph/graph_fixture.h"
#include <bit>
#include <cmath>

using namespace attn;
using namespace attn::test;
using Floats = std::vector<float>;

// ---- the inner loops of every instruction set that this machine has -----------

class IsaTest : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    table = ops::isa_named(GetParam());
    if (!table)
      GTEST_SKIP() << "this machine has no " << GetParam();
  }
  const ops::Isa *table = nullptr;
};
INSTANTIATE_TEST_SUITE_P(All, IsaTest, testing::Values("portable", "avx2", "avx512"));

TEST_P(IsaTest, ActivationsMatchDoublePrecision) {
  Floats x, y(1);
  for (float v = -30; v < 30; v += 0.0371f)
    x.push_back(v);
  for (float v : {0.0f, -0.0f, 1e-20f, -1e-20f, 88.0f, -87.0f, -200.0f})
    x.push_back(v);
  y.resize(x.size());
  using U = ops::Unary;
  struct Case {
    U code;
    double (*f)(double);
    double relative, absolute;
  };
  const Case cases[] = {
      {U::exp, [](double v) { return std::exp(v); }, 4e-7, 0},
      {U::tanh, [](double v) { return std::tanh(v); }, 4e-7, 0},
      {U::sigmoid, [](double v) { return 1 / (1 + std::exp(-v)); }, 5e-7, 0},
      {U::erf, [](double v) { return std::erf(v); }, 0, 4e-7},
      {U::silu, [](double v) { return v / (1 + std::exp(-v)); }, 5e-7, 1e-37},
      {U::gelu_tanh,
       [](double v) {
         return 0.5 * v * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
       },
       5e-6, 1e-6},
      {U::gelu_erf, [](double v) { return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0))); }, 1e-6,
       2e-6}};
  for (const Case &c : cases) {
    table->unary[static_cast<int>(c.code)](x.data(), y.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      double want = c.f(x[i]);
      if (std::abs(want) < 1.2e-38 || std::abs(want) > 3.4e38) // underflow to 0 is as good
        continue;
      ASSERT_NEAR(y[i], want, c.absolute + c.relative * std::abs(want))
          << GetParam() << " function " << static_cast<int>(c.code) << " at " << x[i];
    }
  }
}

TEST_P(IsaTest, ExpKeepsItsLimits) {
  Floats x = {-INFINITY, INFINITY, NAN, -104, 89, 0}, y(6);
  table->unary[static_cast<int>(ops::Unary::exp)](x.data(), y.data(), 6);
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(y[1], INFINITY);
  EXPECT_TRUE(std::isnan(y[2]));
  EXPECT_EQ(y[3], 0);
  EXPECT_EQ(y[4], INFINITY);
  EXPECT_EQ(y[5], 1);
}

TEST_P(IsaTest, GemmTilesOfEveryHeight) {
  const int64_t k = 37, nr = table->nr;
  for (int rows = 1; rows <= table->mr; ++rows)
    for (int columns : {1, table->nr - 1, table->nr}) {
      Floats a = random_floats(static_cast<size_t>(rows * k), 1);
      Floats b = random_floats(static_cast<size_t>(k * nr), 2), bias = random_floats(nr, 3);
      Floats gate = random_floats(3 * nr, 4),
             res = random_floats(static_cast<size_t>(rows * nr), 5);
      Floats c(static_cast<size_t>(rows * nr), -7);
      ops::GemmTile t{};
      t.a = a.data(), t.lda = k, t.b = b.data(), t.k = k, t.c = c.data(), t.ldc = nr;
      t.columns = columns, t.bias = bias.data(), t.activation = ops::Activation::relu;
      t.gate = gate.data(), t.gate_ld = nr, t.rows_per_gate = 6, t.first_row = 3;
      t.residual = res.data(), t.residual_ld = nr;
      table->gemm(t, rows);
      for (int i = 0; i < rows; ++i)
        for (int j = 0; j < nr; ++j) {
          double sum = bias[j];
          for (int64_t p = 0; p < k; ++p)
            sum += double(a[i * k + p]) * b[p * nr + j];
          double want = std::max(sum, 0.0) * gate[(3 + i) / 6 * nr + j] + res[i * nr + j];
          if (j < columns)
            ASSERT_NEAR(c[i * nr + j], want, 2e-5)
                << rows << " " << columns << " " << i << " " << j;
          else
            ASSERT_EQ(c[i * nr + j], -7) << "a column beyond the matrix was written";
        }
    }
}

TEST_P(IsaTest, QuantisesToTheNearestOf255Steps) {
  for (int n : {1, 7, 64, 77}) {
    Floats x = random_floats(static_cast<size_t>(n), 6);
    std::vector<int8_t> y(static_cast<size_t>(n));
    float scale = -1, top = 0;
    table->quantise(x.data(), y.data(), &scale, n);
    for (float v : x)
      top = std::max(top, std::abs(v));
    EXPECT_EQ(scale, top / 127.0f);
    for (int i = 0; i < n; ++i)
      EXPECT_EQ(y[i], static_cast<int>(std::nearbyint(x[i] / scale))) << i;
  }
  Floats zero(9, 0.0f);
  std::vector<int8_t> y(9, 1);
  float scale = -1;
  table->quantise(zero.data(), y.data(), &scale, 9);
  EXPECT_EQ(scale, 0);
  EXPECT_EQ(y, std::vector<int8_t>(9, 0));
}

// Wherever it stands, in a whole vector or in the rest.
TEST_P(IsaTest, NanIsNotHidden) {
  for (int at : {0, 5, 18})
    for (float bad : {std::bit_cast<float>(0x7fffffff), INFINITY}) {
      Floats x = random_floats(19, 7);
      x[static_cast<size_t>(at)] = bad;
      std::vector<int8_t> bytes(19);
      float scale = 0;
      table->quantise(x.data(), bytes.data(), &scale, 19);
      EXPECT_TRUE(std::isnan(bad) ? std::isnan(scale) : std::isinf(scale)) << at;
      for (bool lonely : {false, true}) {
        Floats y(19), row = lonely ? Floats(19, -INFINITY) : x;
        row[static_cast<size_t>(at)] = NAN;
        table->softmax(row.data(), y.data(), 19);
        for (float v : y)
          EXPECT_TRUE(std::isnan(v)) << at;
      }
    }
}

TEST_P(IsaTest, SoftmaxOfFullyMaskedRowsIsZero) {
  Floats x(19, -INFINITY), y(19, 5);
  table->softmax(x.data(), y.data(), 19);
  EXPECT_EQ(y, Floats(19, 0.0f));
}

// ---- operators ------------------------------------------------------------------

TEST(Ops, MatMulBroadcastsBatches) {
  OnnxBuilder b;
  b.input("a", kF32, {2, 1, 3, 5}).input("b", kF32, {4, 5, 7}).node("MatMul", {"a", "b"}, {"y"});
  b.output("y");
  Runner r(b);
  Floats a = random_floats(30, 1), w = random_floats(140, 2), want;
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int m = 0; m < 3; ++m)
        for (int n = 0; n < 7; ++n) {
          float s = 0;
          for (int k = 0; k < 5; ++k)
            s += a[(i * 3 + m) * 5 + k] * w[(j * 5 + k) * 7 + n];
          want.push_back(s);
        }
  expect_near(r.set("a", a).set("b", w).run().get("y"), want, 1e-5f);
}

TEST(Ops, GemmTransposesScalesAndAddsBias) {
  for (int trans = 0; trans < 4; ++trans)
    for (bool constant : {false, true}) {
      bool ta = trans & 1, tb = trans & 2;
      OnnxBuilder b;
      Floats av = random_floats(12, 1), bv = random_floats(20, 2), cv = random_floats(5, 3);
      b.input("a", kF32, ta ? Dims{4, 3} : Dims{3, 4});
      Dims dims = tb ? Dims{5, 4} : Dims{4, 5};
      if (constant)
        b.constant<float>("b", dims, bv);
      else
        b.input("b", kF32, dims);
      b.constant<float>("c", {5}, cv);
      b.node("Gemm", {"a", "b", "c"}, {"y"},
             {attr("transA", int(ta)), attr("transB", int(tb)), attr("alpha", 0.5f),
              attr("beta", 2.0f)});
      b.output("y");
      Runner r(b);
      ASSERT_TRUE(r.status().ok()) << r.status().to_string();
      r.set("a", av);
      if (!constant)
        r.set("b", bv);
      Floats want;
      for (int i = 0; i < 3; ++i)
        for (int j = 0; j < 5; ++j) {
          float s = 0;
          for (int k = 0; k < 4; ++k)
            s += av[ta ? k * 3 + i : i * 4 + k] * bv[tb ? j * 4 + k : k * 5 + j];
          want.push_back(0.5f * s + 2 * cv[j]);
        }
      expect_near(r.run().get("y"), want, 1e-5f);
    }
}

static void expect_bf16_products(const ops::Bf16Unit *unit) {
  if (!unit || ops::isa().nr != unit->columns)
    GTEST_SKIP() << "this processor cannot, or the system does not let it";
  for (int rows : {1, 8, 17, 36, 50, 97, 401})
    for (int k : {32, 45})
      for (int n : {32, 70}) {
        Floats a = random_floats(static_cast<size_t>(rows * k), 1);
        Floats b = random_floats(static_cast<size_t>(k * n), 2), bias = random_floats(n, 3);
        ops::PackedWeight w;
        ASSERT_TRUE(
            ops::pack_weight({b.data(), graph::DType::f32, n, 1}, k, n, 1, bias.data(), 1, 1, w));
        ASSERT_TRUE(ops::convert_weight(*unit, rows, w));
        Floats c(static_cast<size_t>(rows * n));
        ops::Product p;
        p.weight = &w;
        p.c = c.data();
        ThreadPool pool(2);
        ASSERT_TRUE(ops::run_products(pool, a.data(), rows, &p, 1).ok());
        auto rounded = [](float v) { return bf16_to_f32(f32_to_bf16(v)); };
        for (int i = 0; i < rows; ++i)
          for (int j = 0; j < n; ++j) {
            double want = bias[j];
            for (int e = 0; e < k; ++e)
              want += double(rounded(a[i * k + e])) * rounded(b[e * n + j]);
            ASSERT_NEAR(c[i * n + j], want, 2e-5)
                << rows << " " << k << " " << n << " " << i << " " << j;
          }
      }
}

TEST(Ops, Bf16ProductsOfAmxRoundOnlyTheirOperands) { expect_bf16_products(ops::amx_unit()); }
TEST(Ops, Bf16ProductsOfAvx512RoundOnlyTheirOperands) {
  expect_bf16_products(ops::avx512_bf16_unit());
}

TEST(Ops, NormsMatchTheirDefinition) {
  for (bool layer : {true, false}) {
    OnnxBuilder b;
    const int n = 37;
    Floats g = random_floats(n, 7), beta = random_floats(n, 8), x = random_floats(3 * n, 9);
    b.input("x", kF32, {3, n}).constant<float>("g", {n}, g).constant<float>("b", {n}, beta);
    std::vector<std::string> in = {"x", "g"};
    if (layer)
      in.push_back("b");
    b.node(layer ? "LayerNormalization" : "RMSNormalization", in, {"y"}, {attr("epsilon", 1e-3f)});
    b.output("y");
    Runner r(b);
    Floats want;
    for (int i = 0; i < 3; ++i) {
      double mean = 0, var = 0;
      for (int j = 0; j < n; ++j)
        mean += layer ? x[i * n + j] / double(n) : 0;
      for (int j = 0; j < n; ++j)
        var += (x[i * n + j] - mean) * (x[i * n + j] - mean) / n;
      for (int j = 0; j < n; ++j)
        want.push_back(
            float((x[i * n + j] - mean) / std::sqrt(var + 1e-3) * g[j] + (layer ? beta[j] : 0)));
    }
    expect_near(r.set("x", x).run().get("y"), want, 2e-6f);
  }
}

TEST(Ops, SlicesSplitsAndTransposesAreViews) {
  OnnxBuilder b;
  b.input("x", kF32, {2, 6}).constant<int64_t>("s", {1}, {-1}).constant<int64_t>("e", {1}, {-100});
  b.constant<int64_t>("a", {1}, {1}).constant<int64_t>("st", {1}, {-2});
  b.node("Slice", {"x", "s", "e", "a", "st"}, {"back"});
  b.node("Transpose", {"back"}, {"t"}, {attr("perm", Dims{1, 0})});
  b.node("Split", {"t"}, {"p", "q", "r"}, {attr("axis", 0), attr("num_outputs", 3)});
  b.node("Sub", {"p", "r"}, {"y"}).output("y").output("q");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats x(12);
  for (int i = 0; i < 12; ++i)
    x[i] = float(i);
  r.set("x", x).run();
  EXPECT_EQ(r.get("y"), (Floats{5 - 1, 11 - 7}));
  EXPECT_EQ(r.get("q"), (Floats{3, 9}));
}

TEST(Ops, RopeRotatesHalvesAndPairs) {
  for (int interleaved : {0, 1}) {
    OnnxBuilder b;
    Floats c = random_floats(12, 1), s = random_floats(12, 2), x = random_floats(2 * 3 * 6, 3);
    b.input("x", kF32, {1, 2, 3, 6})
        .constant<float>("c", {4, 3}, c)
        .constant<float>("s", {4, 3}, s);
    b.constant<int64_t>("p", {1, 3}, {3, 0, 2});
    b.node("RotaryEmbedding", {"x", "c", "s", "p"}, {"y"}, {attr("interleaved", interleaved)});
    b.output("y");
    Runner r(b);
    ASSERT_TRUE(r.status().ok()) << r.status().to_string();
    const int pos[] = {3, 0, 2};
    Floats want(36);
    for (int h = 0; h < 2; ++h)
      for (int t = 0; t < 3; ++t)
        for (int i = 0; i < 3; ++i) {
          int base = (h * 3 + t) * 6, u = interleaved ? 2 * i : i,
              v = interleaved ? 2 * i + 1 : i + 3;
          float cc = c[pos[t] * 3 + i], ss = s[pos[t] * 3 + i];
          want[base + u] = x[base + u] * cc - x[base + v] * ss;
          want[base + v] = x[base + u] * ss + x[base + v] * cc;
        }
    expect_near(r.set("x", x).run().get("y"), want, 1e-6f);
  }
}

// softmax(q k / sqrt(d) + mask) v over the first `valid` keys, in double.
static Floats attention(const Floats &q, const Floats &k, const Floats &v, int heads, int kv_heads,
                        int rows, int keys, int d, const std::function<bool(int, int)> &sees) {
  Floats out;
  for (int h = 0; h < heads; ++h)
    for (int i = 0; i < rows; ++i) {
      int g = h / (heads / kv_heads);
      std::vector<double> p(keys), o(d);
      double sum = 0;
      for (int j = 0; j < keys; ++j) {
        double s = 0;
        for (int e = 0; e < d; ++e)
          s += double(q[(h * rows + i) * d + e]) * k[(g * keys + j) * d + e];
        p[j] = sees(i, j) ? std::exp(s / std::sqrt(double(d))) : 0;
        sum += p[j];
      }
      for (int j = 0; j < keys; ++j)
        for (int e = 0; e < d; ++e)
          o[e] += p[j] == 0 ? 0 : p[j] / sum * v[(g * keys + j) * d + e];
      for (double e : o)
        out.push_back(float(e));
    }
  return out;
}

TEST(Ops, AttentionGroupsHeadsAndStopsAtTheValidLength) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 4, 3, 8}).input("k", kF32, {1, 2, 6, 8}).input("v", kF32, {1, 2, 6, 8});
  b.input("n", kI64, {1}).node("Attention", {"q", "k", "v", "", "", "", "n"}, {"y"}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats q = random_floats(96, 1), k = random_floats(96, 2), v = random_floats(96, 3);
  Floats want = attention(q, k, v, 4, 2, 3, 6, 8, [](int, int j) { return j < 4; });
  for (int h = 0; h < 2; ++h) // unwritten slots must not leak
    for (int e = 32; e < 48; ++e)
      k[h * 48 + e] = v[h * 48 + e] = NAN;
  expect_near(r.set("q", q).set("k", k).set("v", v).set<int64_t>("n", {4}).run().get("y"), want,
              1e-5f);
}

TEST(Ops, AttentionCausalAndMaskedRowsGiveZero) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 1, 4, 4}).input("k", kF32, {1, 1, 4, 4}).input("v", kF32, {1, 1, 4, 4});
  std::vector<bool> bits = {1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1};
  std::vector<uint8_t> mask(bits.begin(), bits.end());
  b.constant<uint8_t>("m", {4, 4}, mask);
  b.node("Attention", {"q", "k", "v", "m"}, {"y"}, {attr("is_causal", 1)}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats q = random_floats(16, 1), k = random_floats(16, 2), v = random_floats(16, 3);
  Floats got = r.set("q", q).set("k", k).set("v", v).run().get("y");
  Floats want =
      attention(q, k, v, 1, 1, 4, 4, 4, [&](int i, int j) { return j <= i && mask[i * 4 + j]; });
  for (int e = 8; e < 12; ++e) // row 2 sees nothing
    want[e] = 0;
  expect_near(got, want, 1e-5f);
}

TEST(Ops, IntegerAndLogicOperators) {
  OnnxBuilder b;
  b.input("x", kI64, {3}).constant<int64_t>("three", {}, {3}).constant<int64_t>("zero", {1}, {0});
  b.node("Div", {"x", "three"}, {"d"})
      .node("Mul", {"d", "three"}, {"m"})
      .node("Sub", {"x", "m"}, {"rem"});
  b.node("Equal", {"rem", "zero"}, {"is"}).node("Where", {"is", "x", "d"}, {"y"});
  b.node("Cast", {"y"}, {"f"}, {attr("to", 1)}).output("f").output("y", kI64);
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  r.set<int64_t>("x", {6, 7, 11}).run();
  EXPECT_EQ(r.get<int64_t>("y"), (std::vector<int64_t>{6, 2, 3}));
  EXPECT_EQ(r.get("f"), (Floats{6, 2, 3}));
}

TEST(Ops, NormalisesOverSeveralAxesOfATransposedTensor) {
  OnnxBuilder b;
  b.input("x", kF32, {2, 2, 2}).constant<float>("w", {2, 2}, {1, 2, 3, 4});
  b.node("Transpose", {"x"}, {"t"}, {attr("perm", std::vector<int64_t>{1, 0, 2})});
  b.node("RMSNormalization", {"t", "w"}, {"y"}, {attr("axis", 1), attr("epsilon", 0.0f)});
  b.output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  // Rows after the transpose: (1 1 7 7) and (2 4 2 4), of root mean squares 5 and sqrt(10).
  Floats got = r.set("x", Floats{1, 1, 2, 4, 7, 7, 2, 4}).run().get("y");
  const float s = std::sqrt(10.0f);
  expect_near(got, {0.2f, 0.4f, 4.2f, 5.6f, 2 / s, 8 / s, 6 / s, 16 / s}, 1e-6f);
}

TEST(Ops, PadFillsAroundItsInput) {
  OnnxBuilder b;
  b.input("x", kF32, {2, 2}).constant<int64_t>("pads", {2}, {1, 2}).constant<float>("c", {}, {-1});
  b.constant<int64_t>("axes", {1}, {-1});
  b.node("Pad", {"x", "pads", "c", "axes"}, {"y"}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  EXPECT_EQ(r.set("x", Floats{1, 2, 3, 4}).run().get("y"),
            (Floats{-1, 1, 2, -1, -1, -1, 3, 4, -1, -1}));
}

TEST(Ops, ModHasTheDivisorsSign) {
  OnnxBuilder b;
  b.input("x", kI64, {4}).input("m", kI64, {4}).node("Mod", {"x", "m"}, {"y"}).output("y", kI64);
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  r.set<int64_t>("x", {7, -7, 7, INT64_MIN}).set<int64_t>("m", {3, 3, -3, -1}).run();
  EXPECT_EQ(r.get<int64_t>("y"), (std::vector<int64_t>{1, 2, -2, 0}));
}
