// Compiled kernels, run in the PTX emulator, against double precision.
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

// Keys below 16 and the 40 keys up to the query.
const char *kSinkWindowMask = R"(
  %c16 = arith.constant 16 : i32
  %c40 = arith.constant 40 : i32
  %sink = arith.cmpi slt, %k, %c16 : i32
  %low = arith.subi %q, %c40 : i32
  %near = arith.cmpi sgt, %k, %low : i32
  %past = arith.cmpi sle, %k, %q : i32
  %window = arith.andi %near, %past : i1
  %sinkpast = arith.andi %sink, %past : i1
  %admitted = arith.ori %window, %sinkpast : i1)";
const char *kSinkWindowClassify = R"(
  %c16 = arith.constant 16 : i32
  %c40 = arith.constant 40 : i32
  %past = arith.cmpi sle, %k_lo, %q_hi : i32
  %sink = arith.cmpi slt, %k_lo, %c16 : i32
  %low = arith.subi %q_lo, %c40 : i32
  %near = arith.cmpi sgt, %k_hi, %low : i32
  %either = arith.ori %sink, %near : i1
  %any = arith.andi %past, %either : i1
  %before = arith.cmpi sle, %k_hi, %q_lo : i32
  %low2 = arith.subi %q_hi, %c40 : i32
  %inside = arith.cmpi sgt, %k_lo, %low2 : i32
  %all = arith.andi %before, %inside : i1)";
bool sinkWindow(int q, int k, int) { return k <= q && (k < 16 || k > q - 40); }

// Compiles, runs and compares; the limits are those of the numeric contract.
void expectCorrect(const KernelText &text, Call call) {
  Compiled compiled = compileText(text.module());
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics << text.module();
  double limit = text.type == "f32" ? 1e-5 : text.type == "f16" ? 2e-3 : 1e-2;
  for (uint64_t seed : {0, 1}) {
    call.seed = seed;
    Tensors tensors = makeTensors(compiled.info, call);
    Attention expected = reference(compiled.info, call, tensors), got;
    try {
      got = emulate(compiled.ptx, compiled.info, call, tensors);
    } catch (const ptxemu::Error &error) {
      FAIL() << error.what();
    }
    EXPECT_LE(outputError(compiled.info, got, expected), limit) << "seed " << seed;
    if (text.lse) {
      EXPECT_LE(lseError(got, expected), text.type == "f32" ? 2e-5 : 1e-3) << "seed " << seed;
    }
  }
}

std::string maskFault(const KernelText &text, const Call &call) {
  Compiled compiled = compileText(text.module());
  if (!compiled.ok)
    return compiled.diagnostics;
  try {
    return checkMask(compiled.ptx, compiled.info, call);
  } catch (const ptxemu::Error &error) {
    return error.what();
  }
}

struct Variant {
  const char *type;
  int64_t blockQ, blockK, dim;
};

class PtxKernel : public testing::TestWithParam<Variant> {
protected:
  KernelText text() const {
    KernelText text;
    text.type = GetParam().type;
    text.blockQ = GetParam().blockQ;
    text.blockK = GetParam().blockK;
    text.qkDim = text.vDim = GetParam().dim;
    return text;
  }
};

TEST_P(PtxKernel, DenseWithOddLengths) {
  Call call;
  call.heads = 2;
  call.queries = 70;
  call.segments = {{0, 147, 0}};
  expectCorrect(text(), call);
}

TEST_P(PtxKernel, CausalGroupedQueries) {
  KernelText kernel = text();
  kernel.mask = kCausalMask;
  kernel.classify = kCausalClassify;
  Call call;
  call.batch = 2;
  call.heads = 4;
  call.kvHeads = 2;
  call.queries = 65;
  call.queryPosition = 63;
  call.segments = {{0, 128, 0}};
  call.mask = [](int q, int k, int) { return k <= q; };
  expectCorrect(kernel, call);
}

TEST_P(PtxKernel, SinkAndWindowOverSegments) {
  KernelText kernel = text();
  kernel.mask = kSinkWindowMask;
  kernel.classify = kSinkWindowClassify;
  Call call;
  call.queries = 100;
  call.queryPosition = 200;
  call.slots = 240; // slots between segments hold NaN
  call.segments = {{0, 20, 0}, {130, 90, 130}, {0, 0, 0}, {24, 80, 220}}; // a rotated ring
  call.mask = sinkWindow;
  expectCorrect(kernel, call);
}

TEST_P(PtxKernel, MisalignedRows) {
  Call call;
  call.heads = 2;
  call.queries = 20;
  call.segments = {{3, 75, 0}};
  call.misaligned = true;
  expectCorrect(text(), call);
}

TEST_P(PtxKernel, NanStaysInItsRows) {
  KernelText kernel = text();
  kernel.mask = kCausalMask;
  kernel.classify = kCausalClassify;
  Call call;
  call.queries = 70;
  call.segments = {{0, 70, 0}};
  call.mask = [](int q, int k, int) { return k <= q; };
  Compiled compiled = compileText(kernel.module());
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  EXPECT_EQ(checkNan(compiled.ptx, compiled.info, call, /*row=*/5, /*key=*/40), "");
}

INSTANTIATE_TEST_SUITE_P(Types, PtxKernel,
                         testing::Values(Variant{"bf16", 128, 64, 64}, Variant{"bf16", 64, 64, 128},
                                         Variant{"f16", 64, 64, 64}, Variant{"f32", 64, 32, 64},
                                         Variant{"int8", 64, 64, 64}),
                         [](auto &info) {
                           return std::string(info.param.type) + "_" +
                                  std::to_string(info.param.blockQ) + "_" +
                                  std::to_string(info.param.dim);
                         });

TEST(PtxKernelShapes, HeadDimsThatArePadded) {
  for (Variant v : {Variant{"bf16", 64, 32, 40}, Variant{"bf16", 32, 64, 96},
                    Variant{"f32", 32, 16, 20}, Variant{"int8", 64, 32, 80}}) {
    SCOPED_TRACE(std::string(v.type) + " " + std::to_string(v.dim));
    KernelText text;
    text.type = v.type;
    text.blockQ = v.blockQ;
    text.blockK = v.blockK;
    text.qkDim = v.dim;
    text.vDim = v.dim == 20 ? 24 : v.dim;
    Call call;
    call.queries = 33;
    call.segments = {{0, 50, 0}};
    expectCorrect(text, call);
  }
}

TEST(PtxKernelShapes, WideHeadsReadQueriesFromSharedMemory) {
  KernelText text;
  text.blockK = 32;
  text.qkDim = text.vDim = 256;
  Call call;
  call.queries = 40;
  call.segments = {{0, 70, 0}};
  expectCorrect(text, call);
}

TEST(PtxKernelRows, MaskedRowsGiveZeroAndMinusInfinity) {
  KernelText text;
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Call call;
  call.queries = 64;
  call.segments = {{0, 64, 32}}; // the first 32 rows attend nothing
  call.mask = [](int q, int k, int) { return k <= q; };
  Compiled compiled = compileText(text.module());
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  Tensors tensors = makeTensors(compiled.info, call);
  Attention got = emulate(compiled.ptx, compiled.info, call, tensors);
  for (int r = 0; r < 32; ++r) {
    EXPECT_EQ(got.lse[r], -INFINITY);
    for (int d = 0; d < 64; ++d)
      EXPECT_EQ(got.out[r * 64 + d], 0);
  }
  EXPECT_LE(outputError(compiled.info, got, reference(compiled.info, call, tensors)), 1e-2);
}

TEST(PtxKernelRows, SinkLogitEntersDenominatorAndLse) {
  KernelText text;
  text.type = "f32";
  text.blockK = 32;
  text.sinkLogit = true;
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Call call;
  call.heads = 2;
  call.queries = 64;
  call.segments = {{0, 64, 32}};
  call.logits = {0.75f, -2.f};
  call.mask = [](int q, int k, int) { return k <= q; };
  expectCorrect(text, call);
}

TEST(PtxKernelScores, SoftcapAndDistanceBias) {
  KernelText text;
  text.type = "f32";
  text.blockK = 32;
  text.score = R"(
    %cap = arith.constant 5.0 : f32
    %x = arith.divf %s, %cap : f32
    %t = math.tanh %x : f32
    %y = arith.mulf %t, %cap : f32
    %distance = arith.subi %k, %q : i32
    %d = arith.sitofp %distance : i32 to f32
    %slope = arith.constant 0.0625 : f32
    %bias = arith.mulf %d, %slope : f32
    %scored = arith.addf %y, %bias : f32)";
  Call call;
  call.queries = 50;
  call.segments = {{0, 90, 0}};
  call.score = [](double s, int q, int k, int) { return 5 * std::tanh(s / 5) + (k - q) * 0.0625; };
  expectCorrect(text, call);
}

// Every function that a spec can name, with arguments as large as positions.
TEST(PtxKernelScores, FunctionsAreAccurate) {
  KernelText text;
  text.type = "f32";
  text.blockK = 32;
  text.score = R"(
    %qf = arith.sitofp %q : i32 to f32
    %kf = arith.sitofp %k : i32 to f32
    %tenth = arith.constant 0.1 : f32
    %angle = arith.mulf %qf, %tenth : f32
    %sin = math.sin %angle : f32
    %cos = math.cos %kf : f32
    %abs = math.absf %s : f32
    %one = arith.constant 1.0 : f32
    %above = arith.addf %abs, %one : f32
    %log = math.log %above : f32
    %log2 = math.log2 %above : f32
    %root = math.sqrt %above : f32
    %minus = arith.negf %abs : f32
    %exp = math.exp %minus : f32
    %exp2 = math.exp2 %minus : f32
    %floor = math.floor %s : f32
    %ceil = math.ceil %s : f32
    %steps = arith.addf %floor, %ceil : f32
    %small = arith.mulf %steps, %tenth : f32
    %y0 = arith.addf %sin, %cos : f32
    %y1 = arith.addf %y0, %log : f32
    %y2 = arith.addf %y1, %log2 : f32
    %y3 = arith.addf %y2, %root : f32
    %y4 = arith.addf %y3, %exp : f32
    %y5 = arith.addf %y4, %exp2 : f32
    %scored = arith.addf %y5, %small : f32)";
  Call call;
  call.queries = 40;
  call.queryPosition = 30000;
  call.segments = {{0, 40, 70000}};
  call.score = [](double s, int q, int k, int) {
    double above = std::fabs(s) + 1;
    return std::sin(static_cast<float>(q) * 0.1f) + std::cos(k) + std::log(above) +
           std::log2(above) + std::sqrt(above) + std::exp(-std::fabs(s)) +
           std::exp2(-std::fabs(s)) + 0.1 * (std::floor(s) + std::ceil(s));
  };
  expectCorrect(text, call);
}

TEST(PtxKernelScores, ReadsParametersAndHeads) {
  KernelText text;
  text.params = "#tile.param<\"reach\", i32, 0, 100>";
  text.mask = R"(
    %reach = tile.param_value 0 : i32
    %heads = tile.item 3
    %kv_heads = tile.item 4
    %extra = arith.muli %heads, %kv_heads : i32
    %some = arith.addi %reach, %extra : i32
    %more = arith.addi %some, %head : i32
    %low = arith.subi %q, %more : i32
    %admitted = arith.cmpi sge, %k, %low : i32)";
  text.classify = "%any = arith.constant true\n%all = arith.constant false";
  Call call;
  call.heads = 4;
  call.kvHeads = 2;
  call.queries = 64;
  call.segments = {{0, 64, 0}};
  call.params = {9};
  call.mask = [](int q, int k, int head) { return k >= q - 9 - 8 - head; };
  expectCorrect(text, call);
}

TEST(PtxKernelMasks, AreRecoveredExactly) {
  KernelText text;
  text.mask = kSinkWindowMask;
  text.classify = kSinkWindowClassify;
  Call call;
  call.queries = 100;
  call.queryPosition = 120;
  call.slots = 240;
  call.segments = {{0, 20, 0}, {130, 90, 70}, {24, 80, 160}};
  call.mask = sinkWindow;
  EXPECT_EQ(maskFault(text, call), "");
  // The check itself can fail: a mask that is off by one key.
  call.mask = [](int q, int k, int head) { return sinkWindow(q, k, head) && k != q; };
  EXPECT_NE(maskFault(text, call), "");
}

// The emulator's race detection covers the kernels: none of their barriers can go.
TEST(PtxKernelRaces, EveryBarrierIsNeeded) {
  KernelText text;
  text.type = "f16";
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Compiled compiled = compileText(text.module());
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  Call call;
  call.seed = 3;
  call.queries = 130;
  call.queryPosition = 100;
  call.segments = {{0, 230, 0}};
  call.mask = [](int q, int k, int) { return k <= q; };
  Tensors tensors = makeTensors(compiled.info, call);
  EXPECT_NO_THROW(emulate(compiled.ptx, compiled.info, call, tensors));
  int barriers = 0;
  for (size_t at = 0; (at = compiled.ptx.find("bar.sync", at)) != std::string::npos; ++at) {
    std::string without = compiled.ptx;
    without.erase(at, without.find(';', at) + 1 - at);
    EXPECT_THROW(emulate(without, compiled.info, call, tensors), ptxemu::Error) << barriers;
    ++barriers;
  }
  EXPECT_EQ(barriers, 6); // queries in, queries read, and twice two in a block
}

TEST(PtxKernelMasks, AreRecoveredExactlyInInt8) {
  KernelText text;
  text.type = "int8";
  text.mask = kCausalMask;
  text.classify = kCausalClassify;
  Call call;
  call.queries = 70;
  call.segments = {{0, 70, 0}};
  call.mask = [](int q, int k, int) { return k <= q; };
  EXPECT_EQ(maskFault(text, call), "");
}

} // namespace
} // namespace attn::test
