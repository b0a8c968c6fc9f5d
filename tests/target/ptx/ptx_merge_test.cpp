// Merge kernels, compiled for ptx and run in the emulator, against the float64
// oracle: empty rows and parts, a sink logit, an output expression.
#include "tests/interpreter/SpecCase.h"
#include "tests/ptxemu/module.h"
#include "tests/target/ptx/EmulatedCall.h"

#include "compiler/target/Target.h"
#include "dialects/tile/TileDialect.h"

#include <gtest/gtest.h>

#include <cmath>

namespace attn::test {
namespace {

using interpreter::SpecCase;

const char *kText = R"(attention a {
  space tok(i: stream)
  query tok
  keys tok
  heads 3 dim 40
  table logit[head]: f32
  input gate[q, head, dim]: bf16
  input bias[q]: f32
  mask causal(i)
  softmax with logit[head]
  output o * gate + bias * lse + float(q.i)
  emit partial
})";

struct Variant {
  const char *name;
  ElementType type;
  double limit;
  bool misaligned;
};

class PtxMerge : public testing::TestWithParam<Variant> {};

TEST_P(PtxMerge, EqualsOracle) {
  const Variant &variant = GetParam();
  SpecCase spec("a", kText, 9);
  ASSERT_EQ(spec.error(), "");
  const spec::AttentionSpec &a = spec.attention();
  auto blocks = mlir::attn::choosePtxBlocks(
      "sm_80", {a.qkDim, a.vDim, variant.type, variant.type, variant.type});
  mlir::tile::KernelOp kernel = spec.lowerMerge({blocks.q, blocks.k, variant.name, "f32"});
  ASSERT_TRUE(kernel);
  mlir::OwningOpRef<mlir::ModuleOp> module(mlir::ModuleOp::create(kernel.getLoc()));
  module->push_back(kernel->clone());
  auto output = mlir::attn::compilePtx(*module, "sm_80", mlir::attn::Stage::ptx);
  ASSERT_TRUE(mlir::succeeded(output));

  oracle::Call call;
  call.batch = 2;
  call.heads = call.kvHeads = 3;
  call.queryLength = blocks.q + 5;
  call.queryPosition = 11;
  call.bindings = spec.bindings;
  spec.fillInputs(call);
  Call emulated;
  emulated.batch = call.batch;
  emulated.heads = emulated.kvHeads = call.heads;
  emulated.queries = call.queryLength;
  emulated.queryPosition = call.queryPosition;
  emulated.misaligned = variant.misaligned;
  for (const oracle::TableData &table : call.bindings.tables)
    emulated.tables.push_back({table.extents, table.values});
  for (const oracle::InputData &input : call.bindings.inputs)
    emulated.inputs.push_back({input.rows > 1, input.heads > 1, input.dims > 1, input.values});
  std::vector<oracle::Partial> partials;
  for (int part = 0; part < 3; ++part) {
    Call::Part values;
    for (int row = 0; row < call.batch * call.heads * call.queryLength; ++row) {
      bool attends = part != 1 && spec.below(4) != 0;
      values.lse.push_back(attends ? float(spec.below(1000)) / 100 - 5 : -INFINITY);
      for (int64_t d = 0; d < a.vDim; ++d) // numbers that every type holds
        values.out.push_back(attends ? float(spec.below(129)) / 32 - 2 : NAN);
    }
    partials.push_back(
        {{values.out.begin(), values.out.end()}, {values.lse.begin(), values.lse.end()}});
    emulated.parts.push_back(std::move(values));
  }
  auto expected = oracle::mergeReference(a, call, partials);
  ASSERT_TRUE(expected.ok()) << expected.error;
  try {
    const KernelInfo &info = output->kernels[0];
    Attention got = emulate(output->text, info, emulated, {});
    Attention want{{expected.o.begin(), expected.o.end()},
                   {expected.lse.begin(), expected.lse.end()}};
    EXPECT_LE(outputError(info, got, want), variant.limit);
    EXPECT_LE(lseError(got, want), 1e-5);
    // A part's NaN is the row's, never an empty part's silence.
    emulated.parts[0].lse[3] = NAN;
    got = emulate(output->text, info, emulated, {});
    EXPECT_TRUE(std::isnan(got.lse[3]) && std::isnan(got.out[3 * static_cast<size_t>(a.vDim)]));
    EXPECT_FALSE(std::isnan(got.lse[4]) || std::isnan(got.out[4 * static_cast<size_t>(a.vDim)]));
  } catch (const ptxemu::Error &error) {
    FAIL() << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, PtxMerge,
                         testing::Values(Variant{"f32", ElementType::f32, 1e-5, false},
                                         Variant{"f32", ElementType::f32, 1e-5, true},
                                         Variant{"bf16", ElementType::bf16, 1e-2, false},
                                         Variant{"f16", ElementType::f16, 1e-2, true}));

} // namespace
} // namespace attn::test
