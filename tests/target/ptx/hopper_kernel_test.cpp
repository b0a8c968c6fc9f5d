// Scheduled kernels of sm_90a, run in the PTX emulator, against double precision.
#include "tests/target/ptx/Compile.h"
#include "tests/target/ptx/EmulatedCall.h"
#include "tests/target/ptx/KernelText.h"

#include "tests/ptxemu/module.h"

#include <gtest/gtest.h>

namespace attn::test {
namespace {

const char *kCausalMask = "%admitted = arith.cmpi sle, %k, %q : i32";
const char *kCausalClassify = "%any = arith.cmpi sle, %k_lo, %q_hi : i32\n"
                              "%all = arith.cmpi sle, %k_hi, %q_lo : i32";
bool causal(int q, int k, int) { return k <= q; }

KernelText shape(const char *type, int64_t blockK, int64_t qkDim, int64_t vDim) {
  KernelText text;
  text.type = type;
  text.blockQ = 128;
  text.blockK = blockK;
  text.qkDim = qkDim;
  text.vDim = vDim;
  return text;
}

// With the text's keys per block, whatever the table says.
Compiled compile(const KernelText &text, const std::string &changes = "") {
  Compiled compiled =
      compileText(text.module(), "sm_90a:keys" + std::to_string(text.blockK) + "." + changes);
  EXPECT_TRUE(compiled.ok) << compiled.diagnostics << text.module();
  EXPECT_EQ(compiled.diagnostics, "");
  EXPECT_NE(compiled.ptx.find("wgmma.mma_async"), std::string::npos);
  return compiled;
}

void expectCorrect(const KernelText &text, Call call, std::vector<uint64_t> seeds = {0, 1},
                   const std::string &changes = "") {
  Compiled compiled = compile(text, changes);
  for (uint64_t seed : seeds) {
    call.seed = seed;
    Tensors tensors = makeTensors(compiled.info, call);
    Attention expected = reference(compiled.info, call, tensors), got;
    try {
      got = emulate(compiled.ptx, compiled.info, call, tensors);
    } catch (const ptxemu::Error &error) {
      FAIL() << "seed " << seed << ": " << error.what();
    }
    EXPECT_LE(outputError(compiled.info, got, expected), text.type == "f16" ? 2e-3 : 1e-2)
        << "seed " << seed;
    EXPECT_LE(lseError(got, expected), 1e-3) << "seed " << seed;
  }
}

struct Variant {
  const char *type;
  int64_t blockK, qkDim, vDim;
};

class HopperKernel : public testing::TestWithParam<Variant> {
protected:
  KernelText text() const {
    return shape(GetParam().type, GetParam().blockK, GetParam().qkDim, GetParam().vDim);
  }
};

TEST_P(HopperKernel, DenseWithOddLengths) {
  Call call;
  call.heads = 2;
  call.queries = 150;
  call.segments = {{0, 3 * int(GetParam().blockK) + 19, 0}};
  expectCorrect(text(), call);
}

TEST_P(HopperKernel, CausalGroupedQueriesOverSegments) {
  KernelText kernel = text();
  kernel.mask = kCausalMask;
  kernel.classify = kCausalClassify;
  Call call;
  call.batch = 2;
  call.heads = 4;
  call.kvHeads = 2;
  call.queries = 65;
  call.queryPosition = 200;
  call.slots = 300; // slots that no segment names hold NaN
  call.segments = {{170, 90, 130}, {0, 130, 0}, {0, 0, 0}, {268, 30, 220}};
  call.mask = causal;
  expectCorrect(kernel, call);
}

TEST_P(HopperKernel, NanStaysInItsRows) {
  KernelText kernel = text();
  kernel.mask = kCausalMask;
  kernel.classify = kCausalClassify;
  Call call;
  call.queries = 140;
  call.segments = {{0, 140, 0}};
  call.mask = causal;
  Compiled compiled = compile(kernel);
  EXPECT_EQ(checkNan(compiled.ptx, compiled.info, call, /*row=*/5, /*key=*/40), "");
}

INSTANTIATE_TEST_SUITE_P(Shapes, HopperKernel,
                         testing::Values(Variant{"bf16", 128, 64, 64},
                                         Variant{"f16", 128, 128, 128},
                                         Variant{"bf16", 128, 96, 96},
                                         Variant{"bf16", 96, 192, 128},
                                         Variant{"bf16", 64, 256, 256}, Variant{"f16", 64, 80, 48}),
                         [](auto &info) {
                           return std::string(info.param.type) + "_" +
                                  std::to_string(info.param.qkDim) + "_" +
                                  std::to_string(info.param.vDim);
                         });

TEST(HopperRecord, SaysHowToLaunchAndCopy) {
  Compiled compiled = compile(shape("bf16", 128, 96, 64), "pingpong");
  EXPECT_EQ(compiled.info.arch, "sm_90a");
  EXPECT_EQ(compiled.info.compute_capability, 90u);
  EXPECT_EQ(compiled.info.workgroup[0], 384u);
  EXPECT_GT(compiled.info.priority, 1u); // before the cubin of another schedule
  const auto &bindings = compiled.info.bindings;
  EXPECT_EQ(bindings[0].map_rows, 128u);
  EXPECT_EQ(bindings[0].map_bytes, 64u); // rows of 192 bytes
  EXPECT_EQ(bindings[1].map_rows, 128u);
  EXPECT_EQ(bindings[2].map_bytes, 128u);
  EXPECT_EQ(bindings[3].map_bytes, 0u);
  // Queries, two stages of keys and of values, notes and barriers.
  EXPECT_EQ(compiled.info.shared_bytes,
            128u * 192 + 2 * 128 * 192 + 2 * 128 * 128 + 2 * 16 + 16 * (1 + 2 + 2));
  Compiled unknown = compileText(shape("bf16", 128, 64, 64).module(), "sm_90a:fast");
  EXPECT_FALSE(unknown.ok);
  EXPECT_NE(unknown.diagnostics.find("schedule has 'fast'"), std::string::npos);
}

class HopperSchedules : public testing::TestWithParam<const char *> {};

TEST_P(HopperSchedules, AreFuzzed) {
  KernelText text = shape("bf16", 64, 64, 64);
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Call call;
  call.queries = 150;
  call.queryPosition = 250;
  call.segments = {{0, 30, 0}, {40, 130, 100}, {180, 64, 240}, {250, 200, 200}};
  call.mask = causal;
  expectCorrect(text, call, {0, 1, 2, 3, 4, 5}, GetParam());
}

INSTANTIATE_TEST_SUITE_P(All, HopperSchedules,
                         testing::Values("simple", "overlap", "pingpong", "stages4",
                                         "stages4.pingpong.rescale", "stages1.simple"),
                         [](auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

TEST(HopperRows, MaskedRowsGiveZeroAndMinusInfinity) {
  KernelText text = shape("bf16", 64, 64, 64);
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Call call;
  call.queries = 100;
  call.segments = {{0, 100, 40}}; // the first 40 rows attend nothing
  call.mask = causal;
  expectCorrect(text, call);
  call.segments = {{0, 64, 500}}; // no row attends anything: no block is announced
  expectCorrect(text, call);
}

TEST(HopperRows, SinkLogitAndScores) {
  KernelText text = shape("bf16", 64, 64, 64);
  text.sinkLogit = true;
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  text.score = R"(
    %cap = arith.constant 5.0 : f32
    %x = arith.divf %s, %cap : f32
    %t = math.tanh %x : f32
    %scored = arith.mulf %t, %cap : f32)";
  Call call;
  call.heads = 2;
  call.queries = 64;
  call.segments = {{0, 64, 32}};
  call.logits = {0.75f, -2.f};
  call.mask = causal;
  call.score = [](double s, int, int, int) { return 5 * std::tanh(s / 5); };
  expectCorrect(text, call, {0});
}

TEST(HopperMasks, AreRecoveredExactly) {
  KernelText text = shape("bf16", 64, 64, 64);
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Call call;
  call.seed = 1;
  call.queries = 100;
  call.queryPosition = 30;
  call.slots = 240;
  call.segments = {{0, 20, 0}, {130, 70, 70}, {24, 50, 20}};
  call.mask = causal;
  Compiled compiled = compile(text);
  EXPECT_EQ(checkMask(compiled.ptx, compiled.info, call), "");
  call.mask = [](int q, int k, int) { return k < q; };
  EXPECT_NE(checkMask(compiled.ptx, compiled.info, call), "");
}

} // namespace
} // namespace attn::test
