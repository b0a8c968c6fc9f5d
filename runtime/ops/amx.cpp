// Products on Intel's matrix unit (AMX): operands packed into its tile layout; three
// row tiles by two column tiles of sums stay in tile registers.
#include "runtime/ops/bf16_unit.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && defined(__linux__) && defined(__clang__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define ATTN_HAS_AMX 1
#endif

namespace attn::ops {

#ifdef ATTN_HAS_AMX
namespace {

constexpr int kColumns = 32;

int64_t padded_k(int64_t k) { return (k + 31) / 32 * 32; }
int64_t panel_bytes(int64_t k) { return padded_k(k) * kColumns * 2; }
// Row tiles of equal height, at most 16.
int64_t tile_height(int64_t rows) {
  int64_t tiles = std::max<int64_t>((rows + 15) / 16, 1);
  return (rows + tiles - 1) / tiles;
}
int64_t step(int64_t rows) { return 3 * tile_height(rows); }
int64_t rows_bytes(int64_t rows, int64_t k) {
  int64_t height = std::max<int64_t>(tile_height(rows), 1);
  return (rows + height - 1) / height * height * padded_k(k) * 2;
}

// [k / 32][2 column tiles][16 pairs of rows][16 columns][2]
void pack_panel(const float *b, int64_t row, int64_t column, int64_t k, int64_t columns, void *to) {
  uint16_t *out = static_cast<uint16_t *>(to);
  for (int64_t block = 0; block < padded_k(k); block += 32)
    for (int64_t half = 0; half < 2; ++half)
      for (int64_t pair = 0; pair < 16; ++pair)
        for (int64_t j = 16 * half; j < 16 * half + 16; ++j)
          for (int64_t odd = 0; odd < 2; ++odd) {
            int64_t i = block + 2 * pair + odd;
            *out++ = i < k && j < columns ? to_bf16(b[i * row + j * column]) : 0;
          }
}

bool available() {
  unsigned a = 7, b, c = 0, d;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  bool tiles = (d >> 22 & 1) && (d >> 24 & 1); // AMX-BF16, AMX-TILE
  a = 7, c = 1;
  __asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  bool conversions = (a >> 5 & 1) && __builtin_cpu_supports("avx512f"); // AVX512-BF16
  // The system saves the tiles only for processes that ask.
  constexpr long kRequest = 0x1023, kTileData = 18;
  return tiles && conversions && ::syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

__attribute__((target("avx512f,avx512vl,avx512bf16"))) void pack_rows(const float *a, int64_t rows,
                                                                      int64_t k, void *to) {
  const int64_t stride = padded_k(k), height = tile_height(rows);
  const int64_t all = (rows + height - 1) / height * height;
  uint16_t *out = static_cast<uint16_t *>(to);
  for (int64_t r = 0; r < all; ++r, out += stride) {
    int64_t i = 0;
    if (r < rows) {
      const float *from = a + r * k;
      for (; i + 16 <= k; i += 16) {
        __m256bh v = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
        std::memcpy(out + i, &v, 32);
      }
      for (; i < k; ++i)
        out[i] = to_bf16(from[i]);
    }
    std::fill(out + i, out + stride, 0);
  }
}

struct TileConfig {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0..5 are sums, 6 a tile of A, 7 a tile of B.
__attribute__((target("amx-tile"))) void begin(int64_t rows) {
  alignas(64) TileConfig config;
  uint8_t height = static_cast<uint8_t>(tile_height(rows));
  for (int i = 0; i < 8; ++i) {
    config.bytes[i] = 64;
    config.rows[i] = i == 7 ? 16 : height;
  }
  _tile_loadconfig(&config);
}
__attribute__((target("amx-tile"))) void end() { _tile_release(); }

__attribute__((target("amx-tile,amx-bf16"))) void tile(const void *packed, int64_t rows,
                                                       int64_t first, int64_t count,
                                                       const void *panel, int64_t k, float *out) {
  const int64_t height = tile_height(rows), stride = padded_k(k) * 2, tile_bytes = height * stride;
  const int64_t tiles = (count + height - 1) / height;
  const char *a = static_cast<const char *>(packed) + first * stride;
  const char *b = static_cast<const char *>(panel);
  constexpr int64_t kTile = 1024, kAhead = 8 * kTile;
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  for (int64_t i = 0; i < padded_k(k); i += 32, a += 64, b += 2 * kTile) {
    for (int64_t line = 0; line < 2 * kTile; line += 64)
      __builtin_prefetch(b + kAhead + line);
    size_t s = static_cast<size_t>(stride);
    _tile_loadd(7, b, 64);
    _tile_loadd(6, a, s);
    _tile_dpbf16ps(0, 6, 7);
    if (tiles > 1) {
      _tile_loadd(6, a + tile_bytes, s);
      _tile_dpbf16ps(2, 6, 7);
    }
    if (tiles > 2) {
      _tile_loadd(6, a + 2 * tile_bytes, s);
      _tile_dpbf16ps(4, 6, 7);
    }
    _tile_loadd(7, b + kTile, 64);
    if (tiles > 2)
      _tile_dpbf16ps(5, 6, 7); // A's third tile is still there
    if (tiles > 1) {
      _tile_loadd(6, a + tile_bytes, s);
      _tile_dpbf16ps(3, 6, 7);
    }
    if (tiles > 1)
      _tile_loadd(6, a, s);
    _tile_dpbf16ps(1, 6, 7);
  }
  _tile_stored(0, out, 128);
  _tile_stored(1, out + 16, 128);
  if (tiles > 1) {
    _tile_stored(2, out + height * 32, 128);
    _tile_stored(3, out + height * 32 + 16, 128);
  }
  if (tiles > 2) {
    _tile_stored(4, out + 2 * height * 32, 128);
    _tile_stored(5, out + 2 * height * 32 + 16, 128);
  }
}

constexpr Bf16Unit kUnit = {"amx",     kColumns, false, panel_bytes, rows_bytes, pack_panel,
                            pack_rows, begin,    end,   step,        tile};

} // namespace

const Bf16Unit *amx_unit() {
  static const bool usable = available();
  return usable ? &kUnit : nullptr;
}

#else

const Bf16Unit *amx_unit() { return nullptr; }

#endif

} // namespace attn::ops
