// Products in bfloat16 on Intel's matrix unit (AMX), for models that are run with
// bf16 weights: f32 rows and packed weights in, f32 sums out.
#pragma once

#include <cstdint>

namespace attn::ops {

inline constexpr int kAmxColumns = 32;  // of a panel
inline constexpr int kAmxMostRows = 48; // of one call

// Whether the processor has the unit and the system lets this process use it.
bool amx_available();

// Bytes of one panel of k rows, and of `rows` rows of A.
int64_t amx_panel_bytes(int64_t k);
int64_t amx_rows_bytes(int64_t rows, int64_t k);

// Packs columns of B (element (i, j) at b[i * row + j * column]) as bf16; columns
// beyond `columns` and rows beyond k are zero.
void amx_pack_panel(const float *b, int64_t row, int64_t column, int64_t k, int64_t columns,
                    void *to);
// Rows of A (dense, k columns) as bf16, k padded to 32 and rows to whole tiles.
void amx_pack_rows(const float *a, int64_t rows, int64_t k, void *to);

// Between these two a thread may call amx_tile.
void amx_begin(int64_t rows);
void amx_end();

// Row tiles of equal height that `rows` rows are cut into.
int64_t amx_tile_height(int64_t rows);

// out[i * 32 + j] = sum over k for `tiles` <= 3 row tiles from tile `first` on.
void amx_tile(const void *rows, int64_t height, int64_t first, int tiles, const void *panel,
              int64_t k, float *out);

} // namespace attn::ops
