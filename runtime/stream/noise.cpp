// Philox rounds and the normal transform. Only IEEE operations with one rounding
// each are used, so that every compiler and machine gives the same bits.
#include "runtime/stream/noise.h"

#include <bit>
#include <cmath>

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

namespace attn::stream {

PhiloxWords philox(PhiloxWords c, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t p0 = uint64_t(0xD2511F53u) * c[0], p1 = uint64_t(0xCD9E8D57u) * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key1, static_cast<uint32_t>(p0)};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

double noise_log(double x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m-1)/(m+1).
  uint64_t bits = std::bit_cast<uint64_t>(x);
  int e = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) {
    m = m * 0.5;
    e = e + 1;
  }
  double s = (m - 1.0) / (m + 1.0), z = s * s;
  double p = 1.0 / 23.0;
  for (int k = 21; k >= 3; k -= 2) {
    p = p * z;
    p = p + 1.0 / k;
  }
  double tail = s * z;
  tail = tail * p;
  double low = 2.0 * tail + static_cast<double>(e) * 1.90821492927058770002e-10;
  double high = 2.0 * s;
  high = static_cast<double>(e) * 6.93147180369123816490e-01 + high;
  return high + low;
}

void noise_sincos(double turns, double &sine, double &cosine) {
  // The nearest eighth-turn boundary of a quarter turn: |angle| <= pi / 4.
  double quarters = turns * 4.0;
  int quadrant = static_cast<int>(quarters + 0.5);
  double angle = (quarters - quadrant) * 1.5707963267948966;
  double z = angle * angle;
  static constexpr double kSine[] = {
      -1.0 / 6,        1.0 / 120,          -1.0 / 5040,           1.0 / 362880,
      -1.0 / 39916800, 1.0 / 6227020800.0, -1.0 / 1307674368000.0};
  static constexpr double kCosine[] = {
      -1.0 / 2,       1.0 / 24,        -1.0 / 720,           1.0 / 40320,
      -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};
  double s = kSine[6], c = kCosine[7];
  for (int i = 5; i >= 0; --i) {
    s = s * z;
    s = s + kSine[i];
  }
  for (int i = 6; i >= 0; --i) {
    c = c * z;
    c = c + kCosine[i];
  }
  s = s * z;
  s = s * angle;
  s = s + angle;
  c = c * z;
  c = c + 1.0;
  switch (quadrant & 3) {
  case 0:
    sine = s;
    cosine = c;
    break;
  case 1:
    sine = c;
    cosine = -s;
    break;
  case 2:
    sine = -s;
    cosine = -c;
    break;
  default:
    sine = -c;
    cosine = s;
    break;
  }
}

void fill_normal(float *out, int64_t count, uint64_t seed, uint32_t block, uint32_t step) {
  for (int64_t i = 0; i < count; i += 4) {
    uint64_t group = static_cast<uint64_t>(i) / 4;
    PhiloxWords u =
        philox({static_cast<uint32_t>(group), static_cast<uint32_t>(group >> 32), block, step},
               static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    float values[4];
    for (int pair = 0; pair < 2; ++pair) {
      double radius = -2.0 * noise_log((u[2 * pair] + 0.5) * 0x1p-32);
      radius = std::sqrt(radius);
      double sine, cosine;
      noise_sincos((u[2 * pair + 1] + 0.5) * 0x1p-32, sine, cosine);
      values[2 * pair] = static_cast<float>(radius * cosine);
      values[2 * pair + 1] = static_cast<float>(radius * sine);
    }
    for (int64_t k = 0; k < 4 && i + k < count; ++k)
      out[i + k] = values[k];
  }
}

} // namespace attn::stream
