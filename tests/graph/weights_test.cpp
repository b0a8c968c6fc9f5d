// Weights that stay as a file has them: products that pack them at every run, and int8 and
// 16-bit ones that products widen.
#include "runtime/base/half.h"
#include "runtime/ops/matmul.h"
#include "tests/graph/graph_fixture.h"
#include <cmath>

using namespace attn;
using namespace attn::test;
using graph::DType;
using Floats = std::vector<float>;

namespace {

// B (k x n) in a type, and what it stands for.
struct Stored {
  std::vector<uint16_t> halves;
  std::vector<int8_t> bytes;
  Floats scales, values;
  ops::WeightSource source;
};

Stored store(DType type, int64_t k, int64_t n, bool turned) {
  Stored s;
  s.values = random_floats(size_t(k * n), 2);
  s.scales = random_floats(size_t(n), 5);
  s.source = {s.values.data(), type, turned ? 1 : n, turned ? k : 1, nullptr, 0};
  for (size_t i = 0; i < s.values.size(); ++i) {
    float &v = s.values[i];
    if (type == DType::i8) {
      s.bytes.push_back(int8_t(std::lround(v * 30)));
      v = s.scales[turned ? i / size_t(k) : i % size_t(n)] * float(s.bytes.back());
    } else if (type == DType::bf16) {
      s.halves.push_back(f32_to_bf16(v));
      v = bf16_to_f32(s.halves.back());
    } else if (type == DType::f16) {
      s.halves.push_back(f32_to_f16(v));
      v = f16_to_f32(s.halves.back());
    }
  }
  if (type == DType::i8) {
    s.source.data = s.bytes.data();
    s.source.scales = s.scales.data();
    s.source.scale_step = 1;
  } else if (type != DType::f32) {
    s.source.data = s.halves.data();
  }
  return s;
}

Floats multiply(ops::PackedWeight &w, const Floats &a, int64_t rows, uint32_t threads) {
  Floats c(size_t(rows * w.n));
  ops::Product p;
  p.weight = &w;
  p.c = c.data();
  ThreadPool pool(threads);
  EXPECT_TRUE(ops::run_products(pool, a.data(), rows, &p, 1).ok());
  return c;
}

} // namespace

TEST(Weights, UnpackedProductsHaveTheBitsOfPackedOnes) {
  for (DType type : {DType::f32, DType::bf16, DType::f16, DType::i8})
    for (int64_t n : {1, 70, 333})
      for (bool turned : {false, true}) {
        const int64_t rows = 411, k = 45;
        Stored b = store(type, k, n, turned);
        Floats a = random_floats(size_t(rows * k), 1), bias = random_floats(size_t(n), 3);
        ops::PackedWeight packed, unpacked;
        ASSERT_TRUE(ops::pack_weight(b.source, k, n, 1, bias.data(), 1, 1, packed));
        unpacked.source = b.source;
        ASSERT_TRUE(ops::size_weight(k, n, bias.data(), 1, 1, unpacked));
        EXPECT_EQ(unpacked.data.data(), nullptr);
        const Floats want = multiply(packed, a, rows, 1);
        for (uint32_t threads : {1u, 3u})
          EXPECT_EQ(multiply(unpacked, a, rows, threads), want) << int(type) << " " << n;
        for (int64_t i = 0; i < rows; i += 41)
          for (int64_t j = 0; j < n; ++j) {
            double sum = bias[size_t(j)];
            for (int64_t e = 0; e < k; ++e)
              sum += double(a[size_t(i * k + e)]) *
                     b.values[size_t(e * b.source.row + j * b.source.column)];
            ASSERT_NEAR(want[size_t(i * n + j)], sum, 1e-3) << int(type) << " " << i << " " << j;
          }
      }
}

TEST(Weights, OfManyRowsAreNotCopied) {
  OnnxBuilder b;
  const int64_t rows = 1024, k = 32, n = 48;
  Floats w = random_floats(size_t(k * n), 2), x = random_floats(size_t(rows * k), 1);
  b.input("x", kF32, {rows, k}).constant<float>("w", {k, n}, w);
  b.node("MatMul", {"x", "w"}, {"m"}).node("Relu", {"m"}, {"y"}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats got = r.set("x", x).run().get("y");
  for (int64_t i = 0; i < rows; i += 7)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t e = 0; e < k; ++e)
        sum += double(x[size_t(i * k + e)]) * w[size_t(e * n + j)];
      ASSERT_NEAR(got[size_t(i * n + j)], std::max(sum, 0.0), 1e-4);
    }
}

TEST(Weights, LargeNarrowOnesAreWidenedByTheProduct) {
  const int64_t k = 512, n = 520; // a MiB as f32
  Floats x = random_floats(size_t(3 * k), 1);
  for (DType type : {DType::bf16, DType::f16, DType::i8})
    for (bool shared : {false, true}) { // with another reader it is widened beforehand
      Stored b = store(type, k, n, false);
      OnnxBuilder o;
      o.input("x", kF32, {3, k});
      if (type == DType::i8) {
        o.stored("stored", kI8, {k, n}, b.bytes).constant<float>("scale", {n}, b.scales);
        o.node("DequantizeLinear", {"stored", "scale"}, {"w"}, {attr("axis", 1)});
      } else {
        o.stored("stored", type == DType::bf16 ? kBf16 : kF16, {k, n}, b.halves);
        o.node("Cast", {"stored"}, {"w"}, {attr("to", 1)});
      }
      o.node("MatMul", {"x", "w"}, {"y"}).output("y");
      if (shared)
        o.node("Neg", {"w"}, {"other"}).output("other");
      Runner r(o);
      ASSERT_TRUE(r.status().ok()) << r.status().to_string();
      EXPECT_EQ(r.count("Cast") + r.count("DequantizeLinear"), 0u);
      Floats got = r.set("x", x).run().get("y");
      for (int64_t j = 0; j < n; ++j) {
        double sum = 0;
        for (int64_t e = 0; e < k; ++e)
          sum += double(x[size_t(k + e)]) * b.values[size_t(e * n + j)];
        ASSERT_NEAR(got[size_t(n + j)], sum, 2e-3 * (1 + std::abs(sum))) << int(type) << j;
      }
    }
}

TEST(Weights, ZeroPointsAreNotForgotten) {
  const int64_t k = 512, n = 520;
  Stored b = store(DType::i8, k, n, false);
  OnnxBuilder o;
  o.input("x", kF32, {1, k}).stored("stored", kI8, {k, n}, b.bytes);
  o.constant<float>("scale", {}, {0.5f}).stored<int8_t>("zero", kI8, {}, {3});
  o.node("DequantizeLinear", {"stored", "scale", "zero"}, {"w"});
  o.node("MatMul", {"x", "w"}, {"y"}).output("y");
  Runner r(o);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  Floats one(size_t(k), 0.0f);
  one[7] = 1;
  Floats got = r.set("x", one).run().get("y");
  for (int64_t j = 0; j < n; ++j)
    ASSERT_EQ(got[size_t(j)], 0.5f * float(b.bytes[size_t(7 * n + j)] - 3));
}

TEST(Weights, DequantizeLinearByTensorAndByAxis) {
  OnnxBuilder whole;
  whole.input("x", kI8, {2, 2}).constant<float>("s", {}, {0.5f});
  whole.node("DequantizeLinear", {"x", "s"}, {"y"}).output("y");
  Runner r(whole);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  EXPECT_EQ(r.set<int8_t>("x", {-127, 2, 3, 4}).run().get("y"), (Floats{-63.5f, 1, 1.5f, 2}));
  for (int64_t axis : {0, 1, -2}) {
    OnnxBuilder b;
    b.stored<uint8_t>("x", kU8, {2, 2}, {0, 200, 128, 130}).constant<float>("s", {2}, {1, 10});
    b.stored<uint8_t>("z", kU8, {2}, {128, 127});
    b.node("DequantizeLinear", {"x", "s", "z"}, {"y"}, {attr("axis", axis)}).output("y");
    Runner by_axis(b);
    ASSERT_TRUE(by_axis.status().ok()) << by_axis.status().to_string();
    EXPECT_EQ(by_axis.run().get("y"),
              axis == 1 ? (Floats{-128, 730, 0, 30}) : (Floats{-128, 72, 10, 30}));
  }
  OnnxBuilder wrong;
  wrong.input("x", kI8, {2, 3}).constant<float>("s", {2}, {1, 2});
  wrong.node("DequantizeLinear", {"x", "s"}, {"y"}, {attr("axis", 1)}).output("y");
  EXPECT_NE(Runner(wrong).status().to_string().find("has scales of shape"), std::string::npos);
}
