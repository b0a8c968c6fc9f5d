// What Attention nodes ask for beyond masks: windows, products, the present cache,
// narrow element types. ONNX's own cases (tests/onnx/conformance.py) cover the rest.
#include "runtime/base/half.h"
#include "tests/graph/graph_fixture.h"
#include <cmath>
#include <functional>

using namespace attn;
using namespace attn::test;
using Floats = std::vector<float>;

namespace {

// One batch entry, one head, in double.
Floats attention(const Floats &q, const Floats &k, const Floats &v, int rows, int keys, int dim,
                 const std::function<bool(int, int)> &sees) {
  Floats out(static_cast<size_t>(rows * dim));
  for (int i = 0; i < rows; ++i) {
    std::vector<double> p(static_cast<size_t>(keys));
    double total = 0;
    for (int j = 0; j < keys; ++j) {
      double s = 0;
      for (int d = 0; d < dim; ++d)
        s += double(q[i * dim + d]) * k[j * dim + d];
      p[j] = sees(i, j) ? std::exp(s / std::sqrt(double(dim))) : 0;
      total += p[j];
    }
    for (int d = 0; d < dim; ++d) {
      double o = 0;
      for (int j = 0; j < keys; ++j)
        o += total ? p[j] / total * v[j * dim + d] : 0;
      out[i * dim + d] = static_cast<float>(o);
    }
  }
  return out;
}

std::vector<uint16_t> narrow(const Floats &x) {
  std::vector<uint16_t> out;
  for (float v : x)
    out.push_back(f32_to_f16(v));
  return out;
}

} // namespace

TEST(Attention, WindowsAreCountedFromTheQuerysOwnKey) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 1, 3, 4}).input("k", kF32, {1, 1, 2, 4}).input("v", kF32, {1, 1, 2, 4});
  b.input("pk", kF32, {1, 1, 5, 4}).input("pv", kF32, {1, 1, 5, 4});
  b.node("Attention", {"q", "k", "v", "", "pk", "pv"}, {"y"},
         {attr("left_window_size", 2), attr("right_window_size", 0)})
      .output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats q = random_floats(12, 1), k = random_floats(28, 2), v = random_floats(28, 3);
  r.set("q", q)
      .set("pk", Floats(k.begin(), k.begin() + 20))
      .set("k", Floats(k.begin() + 20, k.end()));
  r.set("pv", Floats(v.begin(), v.begin() + 20)).set("v", Floats(v.begin() + 20, v.end()));
  auto sees = [](int i, int j) { return j >= i + 5 - 2 && j <= i + 5; };
  expect_near(r.run().get("y"), attention(q, k, v, 3, 7, 4, sees), 1e-5f);
}

TEST(Attention, PresentFollowsTheTransposeThatReadsIt) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 4, 6}).input("k", kF32, {1, 4, 6}).input("v", kF32, {1, 4, 6});
  b.node("Attention", {"q", "k", "v"}, {"y", "present"},
         {attr("q_num_heads", 2), attr("kv_num_heads", 2)});
  b.node("Transpose", {"present"}, {"t"}, {attr("perm", std::vector<int64_t>{0, 2, 1, 3})});
  b.node("Neg", {"t"}, {"n"}).output("n").output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats k = random_floats(24, 2), want;
  for (float x : k)
    want.push_back(-x);
  r.set("q", random_floats(24, 1)).set("k", k).set("v", random_floats(24, 3)).run();
  EXPECT_EQ(r.get("n"), want);
}

TEST(Attention, ProductsShowMaskedKeysAsMinusInfinity) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 1, 2, 4}).input("k", kF32, {1, 1, 2, 4}).input("v", kF32, {1, 1, 2, 4});
  b.node("Attention", {"q", "k", "v"}, {"y", "", "", "p"},
         {attr("is_causal", 1), attr("qk_matmul_output_mode", 2)});
  b.output("y").output("p");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  r.set("q", Floats(8, 1)).set("k", Floats(8, 1)).set("v", Floats(8, 1)).run();
  EXPECT_EQ(r.get("p"), (Floats{2, -INFINITY, 2, 2}));
}

TEST(Attention, AShortMaskHidesTheKeysBehindIt) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 1, 2, 4}).input("k", kF32, {1, 1, 5, 4}).input("v", kF32, {1, 1, 5, 4});
  b.constant<float>("m", {1, 1}, {0.5f}).node("Attention", {"q", "k", "v", "m"}, {"y"}).output("y");
  Floats q = random_floats(8, 1), k = random_floats(20, 2), v = random_floats(20, 3);
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  expect_near(r.set("q", q).set("k", k).set("v", v).run().get("y"),
              attention(q, k, v, 2, 5, 4, [](int, int j) { return j == 0; }), 1e-5f);
}

TEST(Attention, RefusesAWindowBelowMinusOneAndAnUndefinedMode) {
  for (const char *attribute : {"left_window_size", "qk_matmul_output_mode"}) {
    OnnxBuilder b;
    b.input("q", kF32, {1, 1, 2, 4}).input("k", kF32, {1, 1, 2, 4}).input("v", kF32, {1, 1, 2, 4});
    b.node("Attention", {"q", "k", "v"}, {"y", "", "", "p"}, {attr(attribute, -2)}, "self");
    b.output("y").output("p");
    Runner r(b);
    EXPECT_NE(r.status().to_string().find("node 'self' (Attention)"), std::string::npos)
        << r.status().to_string();
    EXPECT_NE(r.status().to_string().find("-2"), std::string::npos);
  }
}

TEST(NarrowTypes, ChainsOfOperatorsRoundOnce) {
  OnnxBuilder b;
  b.input("x", kF16, {3}).node("Exp", {"x"}, {"e"}).node("Reshape", {"e", "s"}, {"r"});
  b.constant<int64_t>("s", {2}, {3, 1}).node("Log", {"r"}, {"y"}).output("y", kF16);
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  // exp(8.5) rounded to f16 (4916 for 4914.77) would come back as 8.5 + 2.5e-4; exp(12) overflows.
  const std::vector<uint16_t> x = narrow({8.5f, 12.0f, -1.25f});
  EXPECT_EQ(r.set("x", x).run().get<uint16_t>("y"), x);
}

TEST(NarrowTypes, AttentionIsRoundedAtItsOutput) {
  OnnxBuilder b;
  b.input("q", kF16, {1, 1, 3, 8}).input("k", kF16, {1, 1, 4, 8}).input("v", kF16, {1, 1, 4, 8});
  b.node("Attention", {"q", "k", "v"}, {"y"}).output("y", kF16);
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  auto rounded = [](size_t n, uint32_t seed) {
    Floats x = random_floats(n, seed);
    for (float &v : x)
      v = f16_to_f32(f32_to_f16(v));
    return x;
  };
  Floats q = rounded(24, 1), k = rounded(32, 2), v = rounded(32, 3), got;
  r.set("q", narrow(q)).set("k", narrow(k)).set("v", narrow(v)).run();
  for (uint16_t y : r.get<uint16_t>("y"))
    got.push_back(f16_to_f32(y));
  Floats want = attention(q, k, v, 3, 4, 8, [](int, int) { return true; });
  for (size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i], want[i], 5e-4f * std::abs(want[i]) + 1e-6f);
}
