// Kernels for each CPU architecture against their definition in double precision:
// shapes, layouts, masks, scores, element types, ranges, and what must not happen.
#include "tests/target/cpu/cpu_kernel_fixture.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

namespace {

TEST_P(CpuKernelTest, OddLengths) {
  CpuCase c = make();
  auto kernel = compile(c);
  for (int q_len : {1, 7, 48, 49, 97, 200})
    for (int kv_len : {1, 5, 31, 32, 33, 97, 300}) {
      c.q_len = q_len;
      c.segments = {{0, kv_len, 0}};
      SCOPED_TRACE(testing::Message() << "q_len " << q_len << " kv_len " << kv_len);
      expect_within(c, *kernel);
    }
}

TEST_P(CpuKernelTest, HeadDims) {
  const int dims[][2] = {{16, 16},  {32, 64},  {64, 32}, {80, 80}, {128, 128}, {96, 40},
                         {72, 256}, {256, 72}, {20, 12}, {6, 10},  {5, 3},     {33, 47}};
  for (auto [qk, v] : dims) {
    CpuCase c = make();
    c.kernel.qk_dim = qk, c.kernel.v_dim = v;
    c.q_len = 50;
    SCOPED_TRACE(testing::Message() << "dims " << qk << " and " << v);
    expect_within(c);
  }
}

TEST_P(CpuKernelTest, Layouts) {
  CpuCase c = causal();
  c.batch = 2, c.heads = 6, c.kv_heads = 2;
  c.q_len = 61, c.q_position = 30;
  c.segments = {{3, 91, 0}};
  c.slots = 100;
  auto kernel = compile(c);
  for (Layout layout : {Layout::heads_first, Layout::tokens_first, Layout::padded}) {
    c.layout = layout;
    SCOPED_TRACE(int(layout));
    expect_within(c, *kernel);
  }
}

TEST_P(CpuKernelTest, Causal) {
  CpuCase c = causal();
  auto kernel = compile(c);
  for (int length : {1, 31, 90, 131}) {
    c.q_len = length;
    c.segments = {{0, length, 0}};
    expect_within(c, *kernel);
  }
}

// Pictures of rows of 10 tokens; a key lies at most 3 rows and 4 columns away. Rows of
// queries are taken in patches, and tiles begin and end within a row of the picture.
TEST_P(CpuKernelTest, SortedRows) {
  CpuCase c = make();
  c.kernel.sort = R"(
    tile.sort_rows by [0, 1] traits {
    ^bb0(%q_position: i32, %head: i32, %batch: i32):
      %c10 = arith.constant 10 : i32
      %y = arith.divui %q_position, %c10 : i32
      %x = arith.remui %q_position, %c10 : i32
      tile.yield %y, %x : i32, i32
    } classify {
    ^bb0(%y_lo: i32, %y_hi: i32, %x_lo: i32, %x_hi: i32, %k_lo: i32, %k_hi: i32, %head: i32, %batch: i32):
      %c0 = arith.constant 0 : i32
      %c3 = arith.constant 3 : i32
      %c4 = arith.constant 4 : i32
      %c9 = arith.constant 9 : i32
      %c10 = arith.constant 10 : i32
      %ky_lo = arith.divui %k_lo, %c10 : i32
      %ky_hi = arith.divui %k_hi, %c10 : i32
      %one_row = arith.cmpi eq, %ky_lo, %ky_hi : i32
      %kx_first = arith.remui %k_lo, %c10 : i32
      %kx_last = arith.remui %k_hi, %c10 : i32
      %kx_lo = arith.select %one_row, %kx_first, %c0 : i32
      %kx_hi = arith.select %one_row, %kx_last, %c9 : i32
      %y0 = arith.subi %ky_lo, %y_hi : i32
      %y1 = arith.subi %y_lo, %ky_hi : i32
      %x0 = arith.subi %kx_lo, %x_hi : i32
      %x1 = arith.subi %x_lo, %kx_hi : i32
      %dy = arith.maxsi %y0, %y1 : i32
      %dx = arith.maxsi %x0, %x1 : i32
      %near_y = arith.cmpi sle, %dy, %c3 : i32
      %near_x = arith.cmpi sle, %dx, %c4 : i32
      %any = arith.andi %near_y, %near_x : i1
      %y2 = arith.subi %ky_hi, %y_lo : i32
      %y3 = arith.subi %y_hi, %ky_lo : i32
      %x2 = arith.subi %kx_hi, %x_lo : i32
      %x3 = arith.subi %x_hi, %kx_lo : i32
      %far_y = arith.maxsi %y2, %y3 : i32
      %far_x = arith.maxsi %x2, %x3 : i32
      %all_y = arith.cmpi sle, %far_y, %c3 : i32
      %all_x = arith.cmpi sle, %far_x, %c4 : i32
      %all = arith.andi %all_y, %all_x : i1
      tile.yield %any, %all : i1, i1
    }
)";
  c.kernel.classify = "%any = arith.constant true\n%all = arith.constant false\n";
  c.kernel.mask = R"(
    %c3 = arith.constant 3 : i32
    %c4 = arith.constant 4 : i32
    %c10 = arith.constant 10 : i32
    %qy = arith.divui %q_position, %c10 : i32
    %qx = arith.remui %q_position, %c10 : i32
    %ky = arith.divui %k_position, %c10 : i32
    %kx = arith.remui %k_position, %c10 : i32
    %sy = arith.subi %qy, %ky : i32
    %sx = arith.subi %qx, %kx : i32
    %dy = math.absi %sy : i32
    %dx = math.absi %sx : i32
    %near_y = arith.cmpi sle, %dy, %c3 : i32
    %near_x = arith.cmpi sle, %dx, %c4 : i32
    %admitted = arith.andi %near_y, %near_x : i1
)";
  c.admitted = [](int q, int k, int) {
    return std::abs(q / 10 - k / 10) <= 3 && std::abs(q % 10 - k % 10) <= 4;
  };
  c.kernel.v_dim = 128; // slots of the keys, one-hot
  c.batch = 2, c.heads = 4, c.kv_heads = 2;
  auto kernel = compile(c);
  for (int q_len : {1, 7, 40, 97, 230}) {
    SCOPED_TRACE(q_len);
    c.q_len = q_len, c.q_position = 13;
    c.segments = {{0, 61, 60}, {70, 45, 7}};
    c.slots = 120;
    c.layout = q_len % 2 ? Layout::padded : Layout::tokens_first;
    expect_mask(c, *kernel);
    expect_within(c, *kernel);
  }
  // What depends on a row beside the mask: its score and the scale of its int8 dims.
  c.q_len = 130;
  c.kernel.score = R"(
    %far = arith.subi %q_position, %k_position : i32
    %bias = arith.sitofp %far : i32 to f32
    %slope = arith.constant -0.01 : f32
    %shift = arith.mulf %bias, %slope : f32
    %result = arith.addf %s, %shift : f32
)";
  c.score = [](double s, int q, int k, int) { return s - 0.01 * (q - k); };
  expect_within(c);
  c.score = nullptr, c.kernel.score = "";
  c.kernel.int8 = true;
  expect_within(c);
}

// A ring that has turned: a sink segment, then the newer half of the ring before
// the older one in memory. Slots between them were never written.
TEST_P(CpuKernelTest, SinkWindowOverTurnedRing) {
  CpuCase c = sink_window();
  c.q_len = 37, c.q_position = 113;
  c.segments = {{0, 8, 0}, {12, 20, 130}, {0, 0, 0}, {32, 45, 85}};
  c.slots = 80;
  auto kernel = compile(c);
  expect_within(c, *kernel);
  c.layout = Layout::padded;
  expect_within(c, *kernel);
}

TEST_P(CpuKernelTest, RowsThatAttendNothing) {
  CpuCase c = causal();
  auto kernel = compile(c);
  c.segments = {{0, 50, 17}}; // rows 0..16 see no key
  expect_within(c, *kernel);
  c.segments = {{0, 50, 1000}}; // no row sees any
  expect_within(c, *kernel);
  c.segments = {{0, 0, 0}};
  c.slots = 4;
  expect_within(c, *kernel);
}

// One KV head with many keys is cut into chunks; as many heads of as few keys are not.
// How the pieces are shared out changes no bit.
TEST_P(CpuKernelTest, KeysAreCutForFewRows) {
  CpuCase c = causal();
  c.kernel.qk_dim = 32, c.kernel.v_dim = 24;
  c.heads = 5, c.kv_heads = 1;
  c.q_len = 3, c.q_position = 4950;
  c.segments = {{0, 1000, 0}, {1100, 2101, 3000}, {1000, 100, 2900}, {3300, 7, 4947}};
  auto kernel = compile(c);
  if (!kernel->runs())
    return;
  auto pieces = [&] {
    std::string problem;
    return call_plan(*kernel, call_words(c, kernel->info), problem)[ATTN_PLAN_PIECES];
  };
  EXPECT_EQ(pieces(), 3u);
  expect_within(c, *kernel);
  std::vector<char> whole = decoded_bytes(c, *kernel, 3);
  EXPECT_EQ(decoded_bytes(c, *kernel, 1), whole);
  EXPECT_EQ(decoded_bytes(c, *kernel, 2), whole);
  c.batch = 2, c.heads = c.kv_heads = 40;
  c.segments = {{0, 200, 4800}};
  EXPECT_EQ(pieces(), 80u);
  expect_within(c, *kernel);
}

// Where keys and values are more than caches hold, vectors of 16 lanes run other loops.
TEST_P(CpuKernelTest, KeysAreStreamedForFewRows) {
  if (arch() != "avx512")
    return;
  CpuCase c = streamed(128, 128, 25011);
  auto kernel = compile(c);
  expect_within(c, *kernel, Form::few_rows, 1e-5);
  EXPECT_EQ(decoded_bytes(c, *kernel, 1), decoded_bytes(c, *kernel, 3));
  c = streamed(72, 104, 36003); // dims that end within a vector, rows that lie apart
  c.layout = Layout::padded;
  expect_within(c, *compile(c), Form::few_rows, 1e-5);
}

TEST_P(CpuKernelTest, LargeScores) {
  CpuCase c = make();
  auto kernel = compile(c);
  c.scale = 30; // differences of thousands between scores
  expect_within(c, *kernel, 1e-3);
}

TEST_P(CpuKernelTest, SinkLogit) {
  CpuCase c = causal();
  c.kernel.more_bindings = ", #tile.binding<\"logits\", table, f32, 1>";
  c.kernel.sink = "%h = tile.item 0\n%sink = tile.table_load 5[%h] : f32\n";
  c.q_len = 30;
  c.segments = {{0, 30, 4}}; // rows 0..3 see no key
  float logits[2] = {0.5f, -1.25f};
  c.tables["logits"] = {std::bit_cast<uint32_t>(logits[0]), std::bit_cast<uint32_t>(logits[1])};
  c.extents["logits"] = {2};
  c.sink = [=](int head) { return double(logits[head]); };
  expect_within(c);
}

// Softcap, then a per-head slope from a table, then a parameter.
TEST_P(CpuKernelTest, Score) {
  CpuCase c = make();
  c.kernel.more_bindings = ", #tile.binding<\"slopes\", table, f32, 1>";
  c.kernel.params = "#tile.param<\"bias\", f32, -10, 10>";
  c.kernel.score = R"(
    %c5 = arith.constant 5.0 : f32
    %x = arith.divf %s, %c5 : f32
    %y = math.tanh %x : f32
    %z = arith.mulf %y, %c5 : f32
    %slope = tile.table_load 5[%head] : f32
    %distance = arith.subi %k_position, %q_position : i32
    %d = arith.sitofp %distance : i32 to f32
    %a = arith.mulf %slope, %d : f32
    %w = arith.addf %z, %a : f32
    %bias = tile.param_value 0 : f32
    %result = arith.addf %w, %bias : f32
)";
  float slopes[2] = {0.25f, 0.0625f}, bias = 0.75f;
  c.tables["slopes"] = {std::bit_cast<uint32_t>(slopes[0]), std::bit_cast<uint32_t>(slopes[1])};
  c.extents["slopes"] = {2};
  c.params = {std::bit_cast<uint32_t>(bias)};
  c.score = [=](double s, int q, int k, int head) {
    return 5 * std::tanh(s / 5) + slopes[head] * (k - q) + bias;
  };
  expect_within(c);
}

// Every function a score may use compiles without libm and is right to 1e-5.
TEST_P(CpuKernelTest, Functions) {
  struct Function {
    const char *op;
    double (*reference)(double);
  } functions[] = {
      {"math.sin", std::sin},   {"math.cos", std::cos},
      {"math.exp", std::exp},   {"math.tanh", std::tanh},
      {"math.sqrt", std::sqrt}, {"math.log", std::log},
      {"math.exp2", std::exp2}, {"math.floor", std::floor},
      {"math.atan", std::atan}, {"math.log1p", std::log1p},
      {"math.erf", std::erf},   {"math.rsqrt", [](double x) { return 1 / std::sqrt(x); }}};
  for (const Function &f : functions) {
    SCOPED_TRACE(f.op);
    CpuCase c = make();
    c.q_len = 9;
    c.segments = {{0, 37, 0}};
    // 0.5 + |s| / 4 keeps every function away from its poles.
    c.kernel.score = std::string(R"(
      %half = arith.constant 0.5 : f32
      %quarter = arith.constant 0.25 : f32
      %a = math.absf %s : f32
      %b = arith.mulf %a, %quarter : f32
      %c = arith.addf %b, %half : f32
      %result = )") + f.op +
                     " %c : f32\n";
    bool steps = std::string(f.op) == "math.floor";
    c.score = [&](double s, int, int, int) { return f.reference(0.5 + std::fabs(s) / 4); };
    expect_within(c, steps ? 1e-2 : 1e-5);
  }
}

// Division, remainder, tables and parameters in a mask: 3 blocks of a 4 x 5 grid.
TEST_P(CpuKernelTest, MaskOverCoordinates) {
  for (const char *element : {"i8", "i32"}) {
    SCOPED_TRACE(element);
    CpuCase c = make();
    c.kernel.params = "#tile.param<\"reach\", i32, 0, 100>";
    c.kernel.more_bindings = std::string(", #tile.binding<\"parity\", table, ") + element + ", 2>";
    c.kernel.classify = "%any = arith.constant true\n%all = arith.constant false\n";
    c.kernel.mask = R"(
    %c5 = arith.constant 5 : i32
    %c20 = arith.constant 20 : i32
    %qt = arith.divsi %q_position, %c20 : i32
    %kt = arith.divsi %k_position, %c20 : i32
    %qx = arith.remsi %q_position, %c5 : i32
    %kx = arith.remsi %k_position, %c5 : i32
    %dx = arith.subi %qx, %kx : i32
    %reach = tile.param_value 0 : i32
    %adx = math.absi %dx : i32
    %in = arith.cmpi sle, %adx, %reach : i32
    %past = arith.cmpi sle, %kt, %qt : i32
    %v = tile.table_load 5[%qx, %kx] : i32
    %zero = arith.constant 0 : i32
    %odd = arith.cmpi ne, %v, %zero : i32
    %a = arith.andi %in, %past : i1
    %admitted = arith.ori %a, %odd : i1
)";
    bool bytes = std::string(element) == "i8";
    bool parity[25];
    std::vector<uint32_t> words(bytes ? 7 : 25, 0);
    for (int i = 0; i < 25; ++i) {
      parity[i] = i % 7 == 3;
      if (bytes)
        reinterpret_cast<uint8_t *>(words.data())[i] = parity[i] ? 0xff : 0;
      else
        words[i] = parity[i];
    }
    c.tables["parity"] = words;
    c.extents["parity"] = {5, 5};
    c.params = {1};
    c.kernel.v_dim = 64;
    c.q_len = 60;
    c.segments = {{0, 60, 0}};
    c.admitted = [=](int q, int k, int) {
      return (std::abs(q % 5 - k % 5) <= 1 && k / 20 <= q / 20) || parity[q % 5 * 5 + k % 5];
    };
    auto kernel = compile(c);
    expect_within(c, *kernel);
    expect_mask(c, *kernel);
  }
}

// Frames of 20 keys, the first beginning at position 3, and chunks whose length is a
// parameter: what depends on them changes within blocks and within groups of keys.
TEST_P(CpuKernelTest, ValuesKeptOverRunsOfKeys) {
  CpuCase c = make();
  c.kernel.params = "#tile.param<\"chunk\", i32, 1, 1000>";
  c.kernel.classify = "%any = arith.constant true\n%all = arith.constant false\n";
  c.kernel.mask = R"(
    %c1 = arith.constant 1 : i32
    %c2 = arith.constant 2 : i32
    %c3 = arith.constant 3 : i32
    %c20 = arith.constant 20 : i32
    %chunk = tile.param_value 0 : i32
    %qt = arith.divui %q_position, %c20 : i32
    %qx = arith.remui %q_position, %c20 : i32
    %k0 = arith.subi %k_position, %c3 : i32
    %kt = arith.divui %k0, %c20 : i32
    %kx = arith.remui %k0, %c20 : i32
    %dt = arith.subi %qt, %kt : i32
    %frames = math.absi %dt : i32
    %reach = arith.shli %c1, %frames : i32
    %third = arith.remui %frames, %c3 : i32
    %kept = arith.cmpi ne, %third, %c2 : i32
    %dx = arith.subi %qx, %kx : i32
    %places = math.absi %dx : i32
    %near = arith.cmpi sle, %places, %reach : i32
    %first = arith.andi %kept, %near : i1
    %qc = arith.divui %q_position, %chunk : i32
    %kc = arith.divui %k_position, %chunk : i32
    %same = arith.cmpi eq, %qc, %kc : i32
    %begin = arith.cmpi eq, %kx, %c1 : i32
    %second = arith.andi %same, %begin : i1
    %admitted = arith.ori %first, %second : i1
)";
  c.params = {17};
  c.kernel.v_dim = 128;
  c.q_len = 77, c.q_position = 31;
  c.segments = {{0, 61, 50}, {61, 47, 3}};
  c.admitted = [](int q, int k, int) {
    int frames = std::abs(q / 20 - (k - 3) / 20), place = (k - 3) % 20;
    return (frames % 3 != 2 && std::abs(q % 20 - place) <= 1 << frames) ||
           (q / 17 == k / 17 && place == 1);
  };
  auto kernel = compile(c);
  expect_within(c, *kernel);
  expect_mask(c, *kernel);
}

TEST_P(CpuKernelTest, RecoversMasks) {
  CpuCase c = causal();
  c.kernel.v_dim = 128;
  c.q_len = 110, c.q_position = 5;
  c.segments = {{0, 128, 0}};
  expect_mask(c, *compile(c));
  c = sink_window();
  c.kernel.v_dim = 128;
  c.q_len = 37, c.q_position = 113;
  c.segments = {{0, 8, 0}, {12, 20, 130}, {32, 45, 85}};
  expect_mask(c, *compile(c));
}

// The exported ranges are the tiles that hold an admitted pair, by brute force.
TEST_P(CpuKernelTest, Ranges) {
  for (bool windowed : {false, true}) {
    CpuCase c = windowed ? sink_window() : causal();
    c.q_len = 400, c.q_position = 700;
    c.segments = {{0, 8, 0}, {12, 200, 900}, {300, 0, 0}, {212, 700, 200}};
    auto kernel = compile(c);
    std::vector<uint32_t> words = call_words(c, kernel->info);
    int block_q = kernel->info.block_q, block_k = kernel->info.block_k;
    for (int tile = 0; tile * block_q < c.q_len; ++tile) {
      std::vector<uint32_t> expected;
      for (size_t s = 0; s < c.segments.size(); ++s)
        for (int begin = 0; begin < c.segments[s].length; begin += block_k) {
          int end = std::min(begin + block_k, c.segments[s].length);
          int rows = std::min(block_q, c.q_len - tile * block_q);
          bool any = false, all = end - begin == block_k;
          for (int r = 0; r < rows; ++r)
            for (int k = begin; k < end; ++k) {
              bool admitted =
                  c.admitted(c.q_position + tile * block_q + r, c.segments[s].position + k, 0);
              any |= admitted, all &= admitted;
            }
          if (!any)
            continue;
          uint32_t kind = all ? ATTN_TILE_FULL : ATTN_TILE_PARTIAL;
          size_t n = expected.size();
          if (n && expected[n - 4] == s && expected[n - 2] == uint32_t(begin) &&
              expected[n - 1] == kind)
            expected[n - 2] = end;
          else
            expected.insert(expected.end(), {uint32_t(s), uint32_t(begin), uint32_t(end), kind});
        }
      std::vector<uint32_t> found(4 * 64, 0xdead);
      uint32_t count = call_ranges(*kernel, words, tile, found, 64);
      ASSERT_LE(count, 64u);
      found.resize(4 * count);
      EXPECT_EQ(found, expected) << "tile " << tile;
      // A short list is cut, never overrun, and the count is still right.
      std::vector<uint32_t> two(3 * 4, 0xdead);
      EXPECT_EQ(call_ranges(*kernel, words, tile, two, 2), count);
      EXPECT_EQ(two[8], 0xdeadu);
    }
  }
}

TEST_P(CpuKernelTest, ChosenBlocksAreRight) {
  for (int dim : {64, 128, 256}) {
    CpuCase c = causal();
    mlir::attn::KernelShape shape{dim, dim, attn::ElementType::f32, attn::ElementType::f32,
                                  attn::ElementType::f32};
    mlir::attn::BlockShape blocks = mlir::attn::chooseCpuBlocks(arch(), shape);
    c.kernel.block_q = blocks.q, c.kernel.block_k = blocks.k;
    c.kernel.qk_dim = c.kernel.v_dim = dim;
    c.q_len = 230, c.q_position = 11;
    c.segments = {{0, 241, 0}};
    expect_within(c);
  }
}

TEST_P(CpuKernelTest, RecordsWhatTheLauncherNeeds) {
  CpuCase c = make();
  c.kernel.name = "\"dense.f32\"";
  auto kernel = compile(c);
  EXPECT_EQ(kernel->info.name, "dense");
  EXPECT_EQ(kernel->info.variant, "f32");
  EXPECT_EQ(kernel->info.symbol, "dense_f32");
  EXPECT_EQ(kernel->info.arch, arch());
  EXPECT_NE(kernel->info.features, 0u);
  EXPECT_EQ(kernel->info.block_k, 32u);
  EXPECT_GT(kernel->info.arena_bytes, 0u);
}

// NEON kernels run under an emulator where the machine is not an aarch64 one.
INSTANTIATE_TEST_SUITE_P(Arch, CpuKernelTest, testing::Values("avx2", "avx512", "neon"), arch_name);

} // namespace
