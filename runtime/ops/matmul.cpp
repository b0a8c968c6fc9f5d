// Packs weights and walks the tiles of products; a thread takes whole panels, so
// that each weight is read once and no sum depends on the thread count.
#include "runtime/ops/matmul.h"

#include <algorithm>

namespace attn::ops {

void pack_panels(const float *b, int64_t row, int64_t column, int64_t k, int64_t n, float alpha,
                 int nr, int64_t first_panel, int64_t last_panel, float *to) {
  for (int64_t p = first_panel; p < last_panel; ++p) {
    float *panel = to + p * k * nr;
    int64_t columns = std::min<int64_t>(nr, n - p * nr);
    for (int64_t i = 0; i < k; ++i, panel += nr) {
      const float *from = b + i * row + p * nr * column;
      for (int64_t j = 0; j < columns; ++j)
        panel[j] = alpha * from[j * column];
      for (int64_t j = columns; j < nr; ++j)
        panel[j] = 0;
    }
  }
}

bool size_weight(int64_t k, int64_t n, const float *bias, int64_t bias_step, float beta,
                 PackedWeight &out) {
  const int nr = isa().nr;
  out.k = k;
  out.n = n;
  out.panels = (n + nr - 1) / nr;
  if (!bias)
    return true;
  out.bias = AlignedMemory(static_cast<size_t>(out.panels * nr) * 4);
  float *to = static_cast<float *>(out.bias.data());
  if (!to)
    return false;
  for (int64_t j = 0; j < n; ++j)
    to[j] = beta * bias[j * bias_step];
  return true;
}

bool pack_weight(const float *b, int64_t row, int64_t column, int64_t k, int64_t n, float alpha,
                 const float *bias, int64_t bias_step, float beta, PackedWeight &out) {
  const int nr = isa().nr;
  if (!size_weight(k, n, bias, bias_step, beta, out))
    return false;
  out.data = AlignedMemory(static_cast<size_t>(std::max<int64_t>(out.panels * k * nr, 16)) * 4);
  if (!out.data.data())
    return false;
  pack_panels(b, row, column, k, n, alpha, nr, 0, out.panels,
              static_cast<float *>(out.data.data()));
  return true;
}

bool convert_weight(const Bf16Unit &unit, int64_t rows, PackedWeight &w) {
  const int nr = isa().nr;
  if (nr != unit.columns)
    return true; // panels of another width: stays f32
  w.bf16 = AlignedMemory(static_cast<size_t>(w.panels * unit.panel_bytes(w.k)));
  w.rows = AlignedMemory(static_cast<size_t>(unit.rows_bytes(rows, w.k)));
  if (!w.bf16.data() || !w.rows.data())
    return false;
  w.unit = &unit;
  for (int64_t p = 0; p < w.panels; ++p)
    unit.pack_panel(w.panel(p, nr), nr, 1, w.k, nr,
                    static_cast<char *>(w.bf16.data()) + p * unit.panel_bytes(w.k));
  w.data = AlignedMemory();
  w.mapped = nullptr;
  return true;
}

// `rows`: A as bf16, all `row_count` rows of it, where the weight is.
static void run_panel(const Isa &table, const float *a, const void *rows, int64_t row_count,
                      int64_t row_begin, int64_t row_end, const Product &p, int64_t panel) {
  const PackedWeight &w = *p.weight;
  const int64_t column = panel * table.nr;
  GemmTile t{};
  t.lda = w.k;
  t.k = w.k;
  t.ldc = w.n;
  t.columns = static_cast<int>(std::min<int64_t>(table.nr, w.n - column));
  if (w.bias.data())
    t.bias = static_cast<const float *>(w.bias.data()) + column;
  t.activation = p.activation;
  t.gate = p.gate ? p.gate + column : nullptr;
  t.gate_ld = p.gate_ld;
  t.rows_per_gate = p.rows_per_gate;
  t.residual_ld = w.n;
  auto place = [&](int64_t row) {
    t.c = p.c + row * w.n + column;
    t.residual = p.residual ? p.residual + row * w.n + column : nullptr;
    t.first_row = row;
  };
  if (const Bf16Unit *unit = w.unit) {
    alignas(64) float sums[kMostBf16Rows * kMostBf16Columns];
    const char *packed = static_cast<const char *>(w.bf16.data()) + panel * unit->panel_bytes(w.k);
    const int64_t step = unit->step(row_end - row_begin);
    for (int64_t row = row_begin; row < row_end; row += step) {
      int64_t count = std::min(step, row_end - row);
      unit->tile(rows, row_count, row, count, packed, w.k, sums);
      place(row);
      table.finish(sums, static_cast<int>(count), t, true);
    }
    return;
  }
  t.b = w.panel(panel, table.nr);
  // Tiles of nearly equal height: 36 rows are 3 x 12, 64 rows 4 x 11 + 2 x 10.
  int64_t span = row_end - row_begin, tiles = (span + table.mr - 1) / table.mr;
  for (int64_t i = 0; i < tiles; ++i) {
    int64_t first = row_begin + span * i / tiles, last = row_begin + span * (i + 1) / tiles;
    t.a = a + first * w.k;
    place(first);
    table.gemm(t, static_cast<int>(last - first));
  }
}

void run_products(ThreadPool &pool, const float *a, int64_t rows, const Product *products,
                  int count) {
  const Isa &table = isa();
  if (rows == 0)
    return;
  const PackedWeight &first = *products[0].weight;
  const Bf16Unit *unit = first.unit;
  if (unit) // once for all panels
    unit->pack_rows(a, rows, first.k, first.rows.data());
  // Many rows: blocks of them are items too, so that A's block stays cached.
  constexpr int64_t kRowBlock = 192;
  int64_t blocks = unit && !unit->divisible ? 1 : (rows + kRowBlock - 1) / kRowBlock, panels = 0;
  for (int i = 0; i < count; ++i)
    panels += products[i].weight->panels;
  auto body = [&](uint32_t begin, uint32_t end, uint32_t) {
    if (unit)
      unit->begin(rows);
    for (uint32_t item = begin; item < end; ++item) {
      int64_t panel = item % panels, block = item / panels;
      const Product *p = products;
      for (; panel >= p->weight->panels; ++p)
        panel -= p->weight->panels;
      run_panel(table, a, first.rows.data(), rows, rows * block / blocks,
                rows * (block + 1) / blocks, *p, panel);
    }
    if (unit)
      unit->end();
  };
  uint32_t items = static_cast<uint32_t>(panels * blocks);
  int64_t work = rows * panels * table.nr * products[0].weight->k;
  if (work < (1 << 16)) { // a thread would cost more than it does
    body(0, items, 0);
    return;
  }
  // The grain that shares out evenly: at most four pieces per thread.
  uint32_t pieces = pool.thread_count() * 4;
  pool.parallel_for(items, std::max(1u, items / pieces), body);
}

} // namespace attn::ops
