// Kernels of every tier on the Vulkan device against their definition in double
// precision: masks, segments, odd lengths, head groups, element types.
#include "tests/target/spirv/kernel_case.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>

namespace {

// Limits of the numeric contract; a row may be four times worse than the norm.
void expect_within(const Errors &e, double bound) {
  SCOPED_TRACE(e.tier);
  EXPECT_LE(e.frobenius, bound);
  EXPECT_LE(e.worst_row, 4 * bound + 1e-6);
  EXPECT_LE(e.lse, bound < 1e-4 ? 2e-5 : 2e-2);
}

const char *kCausalClassify = "%any = arith.cmpi sge, %q_hi, %k_lo : i32\n"
                              "%all = arith.cmpi sge, %q_lo, %k_hi : i32\n";
const char *kCausalMask = "%admitted = arith.cmpi sge, %q_position, %k_position : i32\n";

KernelText causal() {
  KernelText k;
  k.classify = kCausalClassify;
  k.mask = kCausalMask;
  return k;
}

// A sink of the first 8 keys and a causal window of the last 24.
KernelText sink_window() {
  KernelText k;
  k.classify = R"(
    %c8 = arith.constant 8 : i32
    %c24 = arith.constant 24 : i32
    %low = arith.subi %q_lo, %c24 : i32
    %high = arith.subi %q_hi, %c24 : i32
    %behind = arith.cmpi sge, %q_hi, %k_lo : i32
    %near = arith.cmpi sgt, %k_hi, %low : i32
    %sinks = arith.cmpi slt, %k_lo, %c8 : i32
    %either = arith.ori %near, %sinks : i1
    %any = arith.andi %behind, %either : i1
    %all_behind = arith.cmpi sge, %q_lo, %k_hi : i32
    %all_near = arith.cmpi sgt, %k_lo, %high : i32
    %all_sinks = arith.cmpi slt, %k_hi, %c8 : i32
    %all_either = arith.ori %all_near, %all_sinks : i1
    %all = arith.andi %all_behind, %all_either : i1
)";
  k.mask = R"(
    %c8 = arith.constant 8 : i32
    %c24 = arith.constant 24 : i32
    %behind = arith.cmpi sge, %q_position, %k_position : i32
    %first = arith.subi %q_position, %c24 : i32
    %near = arith.cmpi sgt, %k_position, %first : i32
    %sink = arith.cmpi slt, %k_position, %c8 : i32
    %either = arith.ori %near, %sink : i1
    %admitted = arith.andi %behind, %either : i1
)";
  return k;
}

bool sink_window_admits(int q, int k, int) { return q >= k && (k > q - 24 || k < 8); }

TEST(SpirvKernel, Dense) {
  KernelCase c;
  expect_within(run(c), 1e-5);
}

TEST(SpirvKernel, DenseOddLengths) {
  for (int q_len : {1, 7, 33, 65})
    for (int kv_len : {1, 5, 31, 33, 97}) {
      KernelCase c;
      c.kernel.block_q = 32;
      c.q_len = q_len;
      c.segments = {{0, kv_len, 0}};
      c.slots = kv_len + 3;
      static Compiled kernel = compile(c.kernel.str());
      SCOPED_TRACE(testing::Message() << "q_len " << q_len << " kv_len " << kv_len);
      expect_within(run(c, kernel), 1e-5);
    }
}

TEST(SpirvKernel, HeadDims) {
  const int dims[][2] = {{32, 32}, {128, 128}, {64, 128}, {96, 64}, {6, 10}, {5, 3}};
  for (auto [qk, v] : dims) {
    KernelCase c;
    c.kernel.qk_dim = qk;
    c.kernel.v_dim = v;
    SCOPED_TRACE(testing::Message() << "dims " << qk << " and " << v);
    expect_within(run(c), 1e-5);
  }
}

TEST(SpirvKernel, Causal) {
  KernelCase c;
  c.kernel = causal();
  c.q_len = 90;
  c.segments = {{0, 90, 0}};
  c.admitted = [](int q, int k, int) { return q >= k; };
  expect_within(run(c), 1e-5);
}

TEST(SpirvKernel, CausalGroupedHeadsAndBatch) {
  KernelCase c;
  c.kernel = causal();
  c.batch = 2, c.heads = 6, c.kv_heads = 2;
  c.q_len = 20, c.q_position = 50;
  c.segments = {{0, 70, 0}};
  c.admitted = [](int q, int k, int) { return q >= k; };
  expect_within(run(c), 1e-5);
}

// A ring that has turned: a sink segment, then the newer half of the ring
// before the older one in memory. Slots between them were never written.
TEST(SpirvKernel, SinkWindowOverTurnedRing) {
  KernelCase c;
  c.kernel = sink_window();
  c.q_len = 37, c.q_position = 113;
  c.segments = {{0, 8, 0}, {12, 20, 130}, {0, 0, 0}, {32, 45, 85}};
  c.slots = 80;
  c.admitted = sink_window_admits;
  expect_within(run(c), 1e-5);
}

TEST(SpirvKernel, RotatedEqualsFlat) {
  KernelCase flat;
  flat.kernel = sink_window();
  flat.q_len = 16, flat.q_position = 60;
  flat.segments = {{0, 76, 0}};
  flat.admitted = sink_window_admits;
  expect_within(run(flat), 1e-5);
  KernelCase parts = flat;
  parts.segments = {{0, 31, 0}, {31, 1, 31}, {32, 44, 32}};
  expect_within(run(parts), 1e-5);
}

TEST(SpirvKernel, RowsThatAttendNothing) {
  KernelCase c;
  c.kernel = causal();
  c.q_len = 40, c.q_position = 0;
  c.segments = {{0, 50, 17}}; // rows 0..16 see no key
  c.admitted = [](int q, int k, int) { return q >= k; };
  expect_within(run(c), 1e-5);
  c.segments = {{0, 50, 1000}}; // no row sees any
  expect_within(run(c), 1e-5);
  c.segments = {{0, 0, 0}};
  c.slots = 4;
  expect_within(run(c), 1e-5);
}

TEST(SpirvKernel, SinkLogit) {
  KernelCase c;
  c.kernel = causal();
  c.kernel.more_bindings = ", #tile.binding<\"logits\", table, f32, 1>";
  c.kernel.sink = "%h = tile.item 0\n%sink = tile.table_load 5[%h] : f32\n";
  c.q_len = 30;
  c.segments = {{0, 30, 4}}; // rows 0..3 see no key
  c.admitted = [](int q, int k, int) { return q >= k; };
  float logits[2] = {0.5f, -1.25f};
  c.tables["logits"] = {std::bit_cast<uint32_t>(logits[0]), std::bit_cast<uint32_t>(logits[1])};
  c.extents["logits"] = {2};
  c.sink = [=](int head) { return double(logits[head]); };
  expect_within(run(c), 1e-5);
}

// Softcap, then a per-head slope from a table, then a parameter.
TEST(SpirvKernel, Score) {
  KernelCase c;
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
  expect_within(run(c), 1e-5);
}

TEST(SpirvKernel, Halves) {
  for (const char *type : {"bf16", "f16"}) {
    KernelCase c;
    c.kernel = causal();
    c.kernel.type = type;
    c.q_len = 50;
    c.segments = {{0, 50, 0}};
    c.admitted = [](int q, int k, int) { return q >= k; };
    SCOPED_TRACE(type);
    expect_within(run(c), std::string(type) == "bf16" ? 4e-3 : 5e-4);
  }
}

TEST(SpirvKernel, Int8) {
  KernelCase c;
  c.kernel = causal();
  c.kernel.int8 = true;
  c.kernel.qk_dim = 128, c.kernel.v_dim = 64;
  c.heads = 4;
  c.q_len = 50;
  c.segments = {{0, 50, 0}};
  c.admitted = [](int q, int k, int) { return q >= k; };
  // Against what int8 can say: a query's rounding may fall either way of a tie.
  expect_within(run(c), 1e-4);
}

// 16-bit storage reads single elements where the head dims are no multiple of
// four; without it they are two to a word.
TEST(SpirvKernel, HalvesOfOddHeadDims) {
  for (const char *type : {"bf16", "f16"}) {
    KernelCase c;
    c.kernel.type = type;
    c.kernel.qk_dim = 34, c.kernel.v_dim = 18;
    SCOPED_TRACE(type);
    expect_within(run(c), std::string(type) == "bf16" ? 4e-3 : 5e-4);
    c.kernel.qk_dim = 33, c.kernel.v_dim = 19;
    expect_within(run(c, compile(c.kernel.str(), "t1")),
                  std::string(type) == "bf16" ? 4e-3 : 5e-4);
  }
}

// Query lengths of one row, head dims below a subgroup's width, wide heads.
TEST(SpirvKernel, Int8Shapes) {
  for (auto [qk_dim, v_dim] : {std::pair(36, 8), {16, 128}}) {
    KernelCase c;
    c.kernel = sink_window();
    c.kernel.int8 = true;
    c.kernel.qk_dim = qk_dim, c.kernel.v_dim = v_dim;
    c.q_len = 1, c.q_position = 70;
    c.segments = {{3, 71, 0}};
    c.admitted = sink_window_admits;
    expect_within(run(c), 1e-4);
  }
}

// Division, remainder, tables and parameters in a mask: 3 blocks of a 4 x 5 grid.
TEST(SpirvKernel, MaskOverCoordinates) {
  KernelCase c;
  c.kernel.params = "#tile.param<\"reach\", i32, 0, 100>";
  c.kernel.more_bindings = ", #tile.binding<\"parity\", table, i8, 2>";
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
  uint8_t parity[28] = {};
  for (int i = 0; i < 25; ++i)
    parity[i] = i % 7 == 3 ? 0xff : 0;
  std::vector<uint32_t> words(7);
  std::memcpy(words.data(), parity, 28);
  c.tables["parity"] = words;
  c.extents["parity"] = {5, 5};
  c.params = {1};
  c.q_len = 60;
  c.segments = {{0, 60, 0}};
  c.admitted = [=](int q, int k, int) {
    return (std::abs(q % 5 - k % 5) <= 1 && k / 20 <= q / 20) || parity[q % 5 * 5 + k % 5];
  };
  expect_within(run(c), 1e-5);
  EXPECT_EQ(recover_mask(c).mask_mismatches, 0);
}

TEST(SpirvKernel, RecoversMasks) {
  KernelCase c;
  c.kernel = causal();
  c.kernel.v_dim = 128;
  c.q_len = 70, c.q_position = 15;
  c.segments = {{0, 90, 0}};
  c.admitted = [](int q, int k, int) { return q >= k; };
  EXPECT_EQ(recover_mask(c).mask_mismatches, 0);
  c.kernel = sink_window();
  c.kernel.v_dim = 128;
  c.q_len = 37, c.q_position = 113;
  c.segments = {{0, 8, 0}, {12, 20, 130}, {32, 45, 85}};
  c.admitted = sink_window_admits;
  EXPECT_EQ(recover_mask(c).mask_mismatches, 0);
}

TEST(SpirvKernel, CompilesWithinBudget) {
  KernelCase c;
  c.kernel = sink_window();
  c.kernel.qk_dim = c.kernel.v_dim = 128;
  c.kernel.block_q = 64, c.kernel.block_k = 64;
  compile(c.kernel.str()); // the first compilation registers dialects
  EXPECT_LE(compile(c.kernel.str()).cpu_milliseconds, 250);
}

TEST(SpirvKernel, RecordsWhatTheLauncherNeeds) {
  KernelText text;
  text.name = "dense.f32";
  Compiled kernel = compile(text.str());
  EXPECT_EQ(kernel.info.name, "dense");
  EXPECT_EQ(kernel.info.variant, "f32");
  EXPECT_EQ(kernel.info.symbol, "dense_f32");
  EXPECT_EQ(kernel.info.arch, "t0");
  EXPECT_EQ(kernel.info.features, 0u);
  EXPECT_EQ(kernel.info.priority, 0u);
  EXPECT_EQ(kernel.info.block_q, 32u);
  EXPECT_GE(kernel.info.workgroup[0], 8u);
  EXPECT_LE(kernel.info.workgroup[0], 128u); // what every device has
  Compiled subgroups = compile(text.str(), "t1-subgroup8");
  EXPECT_EQ(subgroups.info.features, uint32_t(attn::kFeatureVkSubgroup));
  EXPECT_EQ(subgroups.info.workgroup[0] % 8, 0u);
  EXPECT_EQ(subgroups.info.priority, 2u);
  text.type = "bf16";
  EXPECT_EQ(compile(text.str(), "t1").info.features, uint32_t(attn::kFeatureVkFloat16));
  text.type = "f32", text.int8 = true;
  Compiled int8 = compile(text.str(), "t1");
  EXPECT_EQ(int8.info.features, uint32_t(attn::kFeatureVkIntegerDot));
  EXPECT_EQ(int8.info.priority, 1u);
  EXPECT_EQ(compile(text.str()).info.features, 0u);
}

} // namespace
