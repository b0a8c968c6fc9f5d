// Products in bfloat16 for models that are run with bf16 weights: f32 rows and
// packed weights in, f32 sums out. One table per kind of instruction.
#pragma once

#include <cstdint>
#include <cstring>

namespace attn::ops {

// The largest block of sums that one call leaves, of every unit.
inline constexpr int kMostBf16Rows = 48, kMostBf16Columns = 32;

struct Bf16Unit {
  const char *name;
  int columns;    // of a panel
  bool divisible; // whether threads may share the rows of a panel
  int64_t (*panel_bytes)(int64_t k);
  int64_t (*rows_bytes)(int64_t rows, int64_t k);
  // Packs columns of B (element (i, j) at b[i * row + j * column]) as bf16; columns
  // beyond `columns` and rows beyond k are zero.
  void (*pack_panel)(const float *b, int64_t row, int64_t column, int64_t k, int64_t columns,
                     void *to);
  // Rows of A (dense, k columns) as bf16.
  void (*pack_rows)(const float *a, int64_t rows, int64_t k, void *to);
  // Between these two a thread may call `tile`. `rows`: all that were packed.
  void (*begin)(int64_t rows);
  void (*end)();
  // How many of `rows` rows, from `first` on, one call takes.
  int64_t (*step)(int64_t rows);
  // sums[i * columns + j] = sum over k of row first + i times column j.
  void (*tile)(const void *packed, int64_t rows, int64_t first, int64_t count, const void *panel,
               int64_t k, float *sums);
};

// The fastest that the processor has and the system lets this process use, or null.
const Bf16Unit *bf16_unit();

// Each by itself, for tests; null where this machine cannot run it.
const Bf16Unit *amx_unit();         // Intel's matrix unit
const Bf16Unit *avx512_bf16_unit(); // vdpbf16ps

inline uint16_t to_bf16(float value) { // round to nearest even; NaN stays one
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

} // namespace attn::ops
