// Noise: Philox's published answers, the accuracy of our functions, fixed bits.
#include "runtime/stream/noise.h"
#include <bit>
#include <cmath>
#include <gtest/gtest.h>
#include <vector>

using namespace attn::stream;

TEST(Noise, PhiloxGivesRandom123sKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 0),
            (PhiloxWords{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  uint32_t f = 0xffffffff;
  EXPECT_EQ(philox({f, f, f, f}, f, f),
            (PhiloxWords{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0),
            (PhiloxWords{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Noise, LogarithmAndCircleAreAccurate) {
  for (uint64_t i = 1; i < 200000; ++i) {
    double x = (static_cast<double>(i * 21474) + 0.5) * 0x1p-32;
    long double want = std::log(static_cast<long double>(x));
    ASSERT_NEAR(noise_log(x), static_cast<double>(want),
                2e-15 * std::abs(static_cast<double>(want)) + 1e-17)
        << x;
    double s, c;
    noise_sincos(x, s, c);
    long double angle = 2 * 3.14159265358979323846264338327950288L * x;
    ASSERT_NEAR(s, static_cast<double>(std::sin(angle)), 4e-16) << x;
    ASSERT_NEAR(c, static_cast<double>(std::cos(angle)), 4e-16) << x;
  }
}

TEST(Noise, BitsAreFixed) {
  // From tools/demo-model/noise.py, which uses NumPy's double functions.
  std::vector<float> v(7);
  fill_normal(v.data(), 7, 1, 0, 0);
  const float want[] = {0x1.8587c60000000p-2f,  -0x1.2f63780000000p-2f, -0x1.fe6e180000000p-3f,
                        -0x1.00fb7a0000000p+0f, 0x1.40ff500000000p-1f,  -0x1.4499860000000p-1f,
                        -0x1.5b466a0000000p-1f};
  for (int i = 0; i < 7; ++i)
    EXPECT_EQ(std::bit_cast<uint32_t>(v[i]), std::bit_cast<uint32_t>(want[i])) << i;
}

TEST(Noise, SeedsBlocksAndStepsDiffer) {
  std::vector<float> a(64), b(64);
  fill_normal(a.data(), 64, 5, 1, 2);
  for (auto [seed, block, step] :
       {std::tuple(6ull, 1u, 2u), {5ull | 1ull << 40, 1u, 2u}, {5ull, 2u, 2u}, {5ull, 1u, 3u}}) {
    fill_normal(b.data(), 64, seed, block, step);
    EXPECT_NE(a, b);
  }
  fill_normal(b.data(), 3, 5, 1, 2); // a prefix is a prefix
  EXPECT_TRUE(std::equal(b.begin(), b.begin() + 3, a.begin()));
}

TEST(Noise, IsNormal) {
  const int n = 1 << 18;
  std::vector<float> v(n);
  fill_normal(v.data(), n, 42, 7, 0);
  double m1 = 0, m2 = 0, m4 = 0;
  for (float x : v) {
    m1 += x;
    m2 += double(x) * x;
    m4 += std::pow(double(x), 4);
  }
  EXPECT_NEAR(m1 / n, 0, 0.01);
  EXPECT_NEAR(m2 / n, 1, 0.02);
  EXPECT_NEAR(m4 / n, 3, 0.1);
}
