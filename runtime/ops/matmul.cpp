// Packs weights and walks the tiles of products; a thread takes whole panels, so
// that each weight is read once and no sum depends on the thread count.
#include "runtime/ops/matmul.h"

#include "runtime/base/half.h"
#include <algorithm>

namespace attn::ops {

template <typename T, typename Value>
static void pack_as(const WeightSource &b, int64_t k, int64_t n, int nr, int64_t first_panel,
                    int64_t last_panel, float *to, Value &&value) {
  for (int64_t p = first_panel; p < last_panel; ++p, to += k * nr) {
    float *panel = to;
    const int64_t first = p * nr, columns = std::min<int64_t>(nr, n - first);
    for (int64_t i = 0; i < k; ++i, panel += nr) {
      const T *from = static_cast<const T *>(b.data) + i * b.row + first * b.column;
      if (b.column == 1)
        for (int64_t j = 0; j < columns; ++j)
          panel[j] = value(from[j], first + j);
      else
        for (int64_t j = 0; j < columns; ++j)
          panel[j] = value(from[j * b.column], first + j);
      for (int64_t j = columns; j < nr; ++j)
        panel[j] = 0;
    }
  }
}

void pack_panels(const WeightSource &b, int64_t k, int64_t n, float alpha, int nr,
                 int64_t first_panel, int64_t last_panel, float *to) {
  auto pack = [&]<typename T>(T, auto &&value) {
    pack_as<T>(b, k, n, nr, first_panel, last_panel, to, value);
  };
  switch (b.type) {
  case graph::DType::bf16:
    return pack(uint16_t(), [=](uint16_t v, int64_t) { return alpha * bf16_to_f32(v); });
  case graph::DType::f16:
    return pack(uint16_t(), [=](uint16_t v, int64_t) { return alpha * f16_to_f32(v); });
  case graph::DType::i8:
    return pack(int8_t(), [&](int8_t v, int64_t j) {
      return alpha * (b.scales[j * b.scale_step] * static_cast<float>(v));
    });
  default:
    return pack(float(), [=](float v, int64_t) { return alpha * v; });
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

bool pack_weight(const WeightSource &b, int64_t k, int64_t n, float alpha, const float *bias,
                 int64_t bias_step, float beta, PackedWeight &out) {
  const int nr = isa().nr;
  if (!size_weight(k, n, bias, bias_step, beta, out))
    return false;
  out.data = AlignedMemory(static_cast<size_t>(std::max<int64_t>(out.panels * k * nr, 16)) * 4);
  if (!out.data.data())
    return false;
  pack_panels(b, k, n, alpha, nr, 0, out.panels, static_cast<float *>(out.data.data()));
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

// `packed`: the panel, where the weight is f32; `rows`: A as bf16, all `row_count` rows of it,
// where the weight is.
static void run_panel(const Isa &table, const float *a, const float *packed, const void *rows,
                      int64_t row_count, int64_t row_begin, int64_t row_end, const Product &p,
                      int64_t panel) {
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
    const char *narrow = static_cast<const char *>(w.bf16.data()) + panel * unit->panel_bytes(w.k);
    const int64_t step = unit->step(row_end - row_begin);
    for (int64_t row = row_begin; row < row_end; row += step) {
      int64_t count = std::min(step, row_end - row);
      unit->tile(rows, row_count, row, count, narrow, w.k, sums);
      place(row);
      table.finish(sums, static_cast<int>(count), t, true);
    }
    return;
  }
  t.b = packed;
  // Tiles of nearly equal height: 36 rows are 3 x 12, 64 rows 4 x 11 + 2 x 10.
  int64_t span = row_end - row_begin, tiles = (span + table.mr - 1) / table.mr;
  for (int64_t i = 0; i < tiles; ++i) {
    int64_t first = row_begin + span * i / tiles, last = row_begin + span * (i + 1) / tiles;
    t.a = a + first * w.k;
    place(first);
    table.gemm(t, static_cast<int>(last - first));
  }
}

// Many rows: blocks of them are items too, so that A's block stays cached.
static constexpr int64_t kRowBlock = 192;

// A weight that is not packed: threads pack a few panels at a time and take them over all rows.
static Status run_unpacked(ThreadPool &pool, const float *a, int64_t rows, const Product &p) {
  constexpr int64_t kNear = 1 << 20; // bytes of panels that stay in a core's cache
  const Isa &table = isa();
  const PackedWeight &w = *p.weight;
  const int64_t panel_bytes = w.k * table.nr * static_cast<int64_t>(sizeof(float));
  const int64_t fewest = std::min<int64_t>(w.panels, pool.thread_count() * 4);
  const int64_t groups = std::max(fewest, (w.panels * panel_bytes + kNear - 1) /
                                              std::max<int64_t>(kNear, panel_bytes));
  const size_t room = static_cast<size_t>((w.panels + groups - 1) / groups * panel_bytes);
  if (!pool.reserve_arenas(room))
    return Status::environment("no memory for ", room, " bytes of packed weights per thread");
  const int64_t blocks = (rows + kRowBlock - 1) / kRowBlock;
  auto body = [&](uint32_t begin, uint32_t end, uint32_t thread) {
    auto *packed = static_cast<float *>(pool.arena(thread, room));
    for (int64_t group = begin; group < end; ++group) {
      const int64_t first = w.panels * group / groups, last = w.panels * (group + 1) / groups;
      pack_panels(w.source, w.k, w.n, 1.0f, table.nr, first, last, packed);
      for (int64_t block = 0; block < blocks; ++block)
        for (int64_t panel = first; panel < last; ++panel)
          run_panel(table, a, packed + (panel - first) * w.k * table.nr, nullptr, rows,
                    rows * block / blocks, rows * (block + 1) / blocks, p, panel);
    }
  };
  pool.parallel_for(static_cast<uint32_t>(groups), 1, body);
  return {};
}

Status run_products(ThreadPool &pool, const float *a, int64_t rows, const Product *products,
                    int count) {
  const Isa &table = isa();
  if (rows == 0)
    return {};
  const bool unpacked = std::any_of(products, products + count,
                                    [](const Product &p) { return p.weight->source.data; });
  for (int i = 0; unpacked && i < count; ++i)
    ATTN_RETURN_IF_ERROR(products[i].weight->source.data
                             ? run_unpacked(pool, a, rows, products[i])
                             : run_products(pool, a, rows, products + i, 1));
  if (unpacked)
    return {};
  const PackedWeight &first = *products[0].weight;
  const Bf16Unit *unit = first.unit;
  if (unit) // once for all panels
    unit->pack_rows(a, rows, first.k, first.rows.data());
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
      const float *packed = unit ? nullptr : p->weight->panel(panel, table.nr);
      run_panel(table, a, packed, first.rows.data(), rows, rows * block / blocks,
                rows * (block + 1) / blocks, *p, panel);
    }
    if (unit)
      unit->end();
  };
  uint32_t items = static_cast<uint32_t>(panels * blocks);
  int64_t work = rows * panels * table.nr * products[0].weight->k;
  if (work < (1 << 16)) { // a thread would cost more than it does
    body(0, items, 0);
    return {};
  }
  // The grain that shares out evenly: at most four pieces per thread.
  uint32_t pieces = pool.thread_count() * 4;
  pool.parallel_for(items, std::max(1u, items / pieces), body);
  return {};
}

} // namespace attn::ops
