// Products with vdpbf16ps: pairs of a row, broadcast, times pairs of 32 columns; up
// to 12 rows of sums stay in registers.
#include "runtime/ops/bf16_unit.h"

#include <algorithm>

#if defined(__x86_64__) && defined(__clang__)
#include <immintrin.h>
#define ATTN_HAS_AVX512_BF16 1
#endif

namespace attn::ops {

const Bf16Unit *bf16_unit() {
  static const Bf16Unit *const chosen = amx_unit() ? amx_unit() : avx512_bf16_unit();
  return chosen;
}

#ifdef ATTN_HAS_AVX512_BF16
#define ATTN_TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512bf16")))

namespace {

constexpr int kColumns = 32, kMostRows = 12;

int64_t pairs(int64_t k) { return (k + 1) / 2; }
int64_t panel_bytes(int64_t k) { return pairs(k) * kColumns * 4; }
int64_t rows_bytes(int64_t rows, int64_t k) { return std::max<int64_t>(rows * pairs(k) * 4, 4); }

// [k / 2][32 columns][2]
void pack_panel(const float *b, int64_t row, int64_t column, int64_t k, int64_t columns, void *to) {
  uint16_t *out = static_cast<uint16_t *>(to);
  for (int64_t pair = 0; pair < pairs(k); ++pair)
    for (int64_t j = 0; j < kColumns; ++j)
      for (int64_t i = 2 * pair; i < 2 * pair + 2; ++i)
        *out++ = i < k && j < columns ? to_bf16(b[i * row + j * column]) : 0;
}

ATTN_TARGET void pack_rows(const float *a, int64_t rows, int64_t k, void *to) {
  uint16_t *out = static_cast<uint16_t *>(to);
  for (int64_t r = 0; r < rows; ++r, a += k, out += 2 * pairs(k)) {
    int64_t i = 0;
    for (; i + 16 <= k; i += 16) {
      __m256bh v = _mm512_cvtneps_pbh(_mm512_loadu_ps(a + i));
      std::memcpy(out + i, &v, 32);
    }
    for (; i < k; ++i)
      out[i] = to_bf16(a[i]);
    if (k % 2)
      out[k] = 0;
  }
}

template <int R>
ATTN_TARGET void tile_of(const uint32_t *a, int64_t stride, const char *panel, int64_t count,
                         float *sums) {
  __m512 acc[R][2];
#pragma clang loop unroll(full)
  for (int r = 0; r < R; ++r)
    acc[r][0] = acc[r][1] = _mm512_setzero_ps();
  constexpr int64_t kStep = kColumns * 4, kAhead = 24 * kStep;
  for (int64_t p = 0; p < count; ++p, ++a, panel += kStep) {
    __m512bh b0, b1;
    std::memcpy(&b0, panel, 64);
    std::memcpy(&b1, panel + 64, 64);
    // Weights come from beyond L2 once per call, faster than hardware expects.
    __builtin_prefetch(panel + kAhead);
    __builtin_prefetch(panel + kAhead + 64);
#pragma clang loop unroll(full)
    for (int r = 0; r < R; ++r) {
      __m512bh x = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[r * stride]));
      acc[r][0] = _mm512_dpbf16_ps(acc[r][0], b0, x);
      acc[r][1] = _mm512_dpbf16_ps(acc[r][1], b1, x);
    }
  }
#pragma clang loop unroll(full)
  for (int r = 0; r < R; ++r) {
    _mm512_storeu_ps(sums + r * kColumns, acc[r][0]);
    _mm512_storeu_ps(sums + r * kColumns + 16, acc[r][1]);
  }
}

using TileOf = void (*)(const uint32_t *, int64_t, const char *, int64_t, float *);
constexpr TileOf kTiles[kMostRows] = {tile_of<1>, tile_of<2>,  tile_of<3>,  tile_of<4>,
                                      tile_of<5>, tile_of<6>,  tile_of<7>,  tile_of<8>,
                                      tile_of<9>, tile_of<10>, tile_of<11>, tile_of<12>};

void tile(const void *packed, int64_t, int64_t first, int64_t count, const void *panel, int64_t k,
          float *sums) {
  const int64_t stride = pairs(k);
  kTiles[count - 1](static_cast<const uint32_t *>(packed) + first * stride, stride,
                    static_cast<const char *>(panel), stride, sums);
}

// Tiles of nearly equal height.
int64_t step(int64_t rows) {
  int64_t tiles = std::max<int64_t>((rows + kMostRows - 1) / kMostRows, 1);
  return (rows + tiles - 1) / tiles;
}
void nothing(int64_t) {}
void nothing() {}

constexpr Bf16Unit kUnit = {"avx512-bf16", kColumns, true,    panel_bytes, rows_bytes, pack_panel,
                            pack_rows,     nothing,  nothing, step,        tile};

} // namespace

const Bf16Unit *avx512_bf16_unit() {
  static const bool available = [] {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
  }();
  return available ? &kUnit : nullptr;
}

#else

const Bf16Unit *avx512_bf16_unit() { return nullptr; }

#endif

} // namespace attn::ops
