// 16-bit floats: every pattern survives, rounding is to nearest even.
#include "runtime/base/half.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace attn;

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = f16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(value))));
    else
      ASSERT_EQ(f32_to_f16(value), bits);
  }
}

TEST(Half, EveryBf16SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = bf16_to_f32(static_cast<uint16_t>(bits));
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(value))));
    else
      ASSERT_EQ(f32_to_bf16(value), bits);
  }
}

// Between two neighbours the nearer wins, in the middle the even one.
TEST(Half, RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    double low = f16_to_f32(static_cast<uint16_t>(bits));
    double high = f16_to_f32(static_cast<uint16_t>(bits + 1));
    double middle = (low + high) / 2;
    ASSERT_EQ(f32_to_f16(static_cast<float>(middle)), bits % 2 ? bits + 1 : bits);
    ASSERT_EQ(f32_to_f16(std::nextafter(static_cast<float>(middle), 1e9f)), bits + 1);
    ASSERT_EQ(f32_to_f16(std::nextafter(static_cast<float>(middle), -1e9f)), bits);
  }
  EXPECT_EQ(f32_to_bf16(1.00390625f), 0x3f80); // half of an ulp above 1: even
  EXPECT_EQ(f32_to_bf16(1.01171875f), 0x3f82); // half above an odd one
}

TEST(Half, OverflowBecomesInfinity) {
  EXPECT_EQ(f32_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e30f), 0xfc00);
  EXPECT_EQ(f32_to_bf16(3.4e38f), 0x7f80);
}
