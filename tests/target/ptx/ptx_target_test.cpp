// What the ptx target promises besides results: gates, records, rejections.
#include "tests/target/ptx/Compile.h"
#include "tests/target/ptx/KernelText.h"

#include "compiler/target/ptx/PtxPipeline.h"
#include "compiler/target/ptx/Schedule.h"

#include <gtest/gtest.h>

namespace attn::test {
namespace {

using mlir::attn::BlockShape;
using mlir::attn::choosePtxBlocks;
using mlir::attn::KernelShape;
using mlir::attn::SharedLayout;
using mlir::attn::Stage;

KernelText chosen(const std::string &type, int64_t dim) {
  ElementType element = type == "f32"    ? ElementType::f32
                        : type == "int8" ? ElementType::i8
                        : type == "f16"  ? ElementType::f16
                                         : ElementType::bf16;
  KernelShape shape;
  shape.qkDim = shape.vDim = dim;
  shape.q = type == "int8" ? ElementType::bf16 : element;
  shape.k = shape.v = element;
  BlockShape block = choosePtxBlocks("sm_80", shape);
  KernelText text;
  text.type = type;
  text.qkDim = text.vDim = dim;
  text.blockQ = block.q;
  text.blockK = block.k;
  text.mask = "%admitted = arith.cmpi sle, %k, %q : i32";
  text.classify = "%any = arith.cmpi sle, %k_lo, %q_hi : i32\n"
                  "%all = arith.cmpi sle, %k_hi, %q_lo : i32";
  return text;
}

struct Shape {
  const char *type;
  int64_t dim;
};

class PtxasShapes : public testing::TestWithParam<Shape> {};

// Spills and C75xx advisories would be warnings.
TEST_P(PtxasShapes, AssemblesWithoutSpills) {
  if (!mlir::attn::findPtxas())
    GTEST_SKIP() << "ptxas is not installed";
  Compiled compiled =
      compileText(chosen(GetParam().type, GetParam().dim).module(), "sm_80", Stage::image);
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  EXPECT_EQ(compiled.diagnostics, "");
  ASSERT_EQ(compiled.output.images.size(), 2u);
  EXPECT_EQ(compiled.output.images[0].substr(0, 2), "//");
  EXPECT_EQ(compiled.output.images[1].substr(1, 3), "ELF");
  ASSERT_EQ(compiled.output.kernels.size(), 2u);
  EXPECT_GT(compiled.output.kernels[1].priority, compiled.output.kernels[0].priority);
  EXPECT_EQ(compiled.output.kernels[1].image, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Chosen, PtxasShapes,
    testing::Values(Shape{"bf16", 64}, Shape{"bf16", 128}, Shape{"bf16", 256}, Shape{"f16", 128},
                    Shape{"f32", 64}, Shape{"f32", 128}, Shape{"int8", 64}, Shape{"int8", 128}),
    [](auto &info) { return std::string(info.param.type) + "_" + std::to_string(info.param.dim); });

// The gate above can fail: as many registers as this do not exist.
TEST(PtxasGate, WarnsOfSpills) {
  if (!mlir::attn::findPtxas())
    GTEST_SKIP() << "ptxas is not installed";
  KernelText text = chosen("f32", 128);
  text.blockQ = 128; // two row tiles of 128 columns
  Compiled compiled = compileText(text.module(), "sm_80", Stage::image);
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  EXPECT_NE(compiled.diagnostics.find("spill"), std::string::npos) << compiled.diagnostics;
}

TEST(PtxTarget, RecordSaysHowToLaunch) {
  KernelText text = chosen("bf16", 128);
  Compiled compiled = compileText(text.module(), "sm_86");
  ASSERT_TRUE(compiled.ok) << compiled.diagnostics;
  EXPECT_EQ(compiled.info.symbol, "test_bf16");
  EXPECT_EQ(compiled.info.arch, "sm_86");
  EXPECT_EQ(compiled.info.compute_capability, 86u);
  EXPECT_EQ(compiled.info.workgroup[0], 128u);
  EXPECT_EQ(compiled.info.shared_bytes, 48u * 1024); // two stages of K, one of V
  EXPECT_NE(compiled.ptx.find(".target sm_86"), std::string::npos);
  EXPECT_NE(compiled.ptx.find(".entry test_bf16("), std::string::npos);
}

// The main loop runs on tensor cores and asynchronous copies, not on fallbacks.
TEST(PtxTarget, UsesTensorCores) {
  auto count = [](const std::string &text, const std::string &word) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += word.size())
      ++n;
    return n;
  };
  Compiled bf16 = compileText(chosen("bf16", 128).module());
  ASSERT_TRUE(bf16.ok) << bf16.diagnostics;
  // 8 k steps x 8 column tiles, 4 key steps x 16 column tiles; full and partial bodies.
  EXPECT_EQ(count(bf16.ptx, "mma.sync.aligned.m16n8k16.row.col.f32.bf16"), 2u * (64 + 64));
  EXPECT_GT(count(bf16.ptx, "cp.async.cg.shared.global"), 0u);
  EXPECT_EQ(count(bf16.ptx, ".local"), 0u);
  Compiled int8 = compileText(chosen("int8", 128).module());
  ASSERT_TRUE(int8.ok) << int8.diagnostics;
  EXPECT_EQ(count(int8.ptx, "mma.sync.aligned.m16n8k32.row.col.s32.s8"), 2u * 4 * 8);
  Compiled f32 = compileText(chosen("f32", 64).module());
  ASSERT_TRUE(f32.ok) << f32.diagnostics;
  EXPECT_EQ(count(f32.ptx, "mma.sync.aligned.m16n8k8") % 3, 0u); // three products for one
}

TEST(PtxTarget, RejectsWhatItCannotRun) {
  KernelText text = chosen("bf16", 64);
  Compiled old = compileText(text.module(), "sm_75");
  EXPECT_FALSE(old.ok);
  EXPECT_NE(old.diagnostics.find("'sm_75'; must be sm_80 or later"), std::string::npos);
  text.qkDim = 36;
  Compiled odd = compileText(text.module());
  EXPECT_FALSE(odd.ok);
  EXPECT_NE(odd.diagnostics.find("take multiples of 8"), std::string::npos) << odd.diagnostics;
  KernelText wide = chosen("f32", 256);
  wide.blockQ = 128;
  wide.blockK = 64;
  Compiled large = compileText(wide.module());
  EXPECT_FALSE(large.ok);
  EXPECT_NE(large.diagnostics.find("bytes of shared memory"), std::string::npos)
      << large.diagnostics;
}

// Eight rows read at one chunk must lie in different banks, whatever the row length.
TEST(SharedLayout, SwizzleSpreadsBanks) {
  for (int64_t dim = 16; dim <= 256; dim += 16) {
    SharedLayout layout = SharedLayout::get(16, dim, 2);
    for (int64_t chunk = 0; chunk < layout.chunks; ++chunk) {
      uint32_t banks = 0;
      for (int64_t row = 0; row < 8; ++row) {
        int64_t f = row >> layout.swizzleShift() & layout.swizzleMask();
        int64_t position = chunk ^ f;
        EXPECT_LT(position, layout.chunks);
        banks |= 1u << ((row * layout.chunks + position) % 8);
      }
      EXPECT_EQ(banks, 0xffu) << "dim " << dim << " chunk " << chunk;
    }
  }
}

} // namespace
} // namespace attn::test
