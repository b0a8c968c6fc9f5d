// Every shipped spec, compiled for ptx and run in the emulator, against the
// float64 oracle.
#include "tests/interpreter/SpecCase.h"
#include "tests/ptxemu/module.h"
#include "tests/target/ptx/EmulatedCall.h"

#include "compiler/target/Target.h"
#include "dialects/tile/TileDialect.h"

#include <algorithm>
#include <gtest/gtest.h>

namespace attn::test {
namespace {

using interpreter::SpecCase;

class PtxSpec : public testing::TestWithParam<std::string> {
protected:
  void expectOracle(const std::string &variant, ElementType type, double limit,
                    const char *arch = "sm_80");
};

TEST_P(PtxSpec, SinglePrecisionEqualsOracle) { expectOracle("f32", ElementType::f32, 1e-5); }
TEST_P(PtxSpec, HalfPrecisionEqualsOracle) { expectOracle("bf16", ElementType::bf16, 1e-2); }
TEST_P(PtxSpec, ScheduledEqualsOracle) { expectOracle("bf16", ElementType::bf16, 1e-2, "sm_90a"); }

void PtxSpec::expectOracle(const std::string &variant, ElementType type, double limit,
                           const char *arch) {
  SpecCase spec(GetParam(), 5);
  ASSERT_EQ(spec.error(), "");
  const spec::AttentionSpec &a = spec.attention();
  mlir::attn::KernelShape shape{a.qkDim, a.vDim, type, type, type};
  mlir::attn::BlockShape blocks = mlir::attn::choosePtxBlocks(arch, shape);
  mlir::attn::TileOptions options;
  options.blockQ = blocks.q;
  options.blockK = blocks.k;
  options.variant = variant;
  mlir::tile::KernelOp kernel = spec.lower(options);
  ASSERT_TRUE(kernel);
  mlir::OwningOpRef<mlir::ModuleOp> module(mlir::ModuleOp::create(kernel.getLoc()));
  module->push_back(kernel->clone());
  auto output = mlir::attn::compilePtx(*module, arch, mlir::attn::Stage::ptx);
  ASSERT_TRUE(mlir::succeeded(output));
  KernelInfo info = output->kernels[0];

  // A call whose segments have gaps between them and follow no order.
  oracle::Call call;
  call.batch = 1;
  call.heads = spec.bindings.heads;
  call.kvHeads = spec.bindings.kvHeads;
  call.queryLength = 20 + spec.below(20);
  call.queryPosition = spec.position(spec.queryLimit());
  call.bindings = spec.bindings;
  call.segments.emplace_back();
  int32_t slot = 3;
  for (int i = 0; i < 4; ++i) {
    int64_t first = i == 0 ? 0 : spec.position(spec.keyLimit());
    if (i == 1) // keys that the queries are likely to see
      first = std::max<int64_t>(0, std::min<int64_t>(call.queryPosition, spec.keyLimit() - 1) - 30);
    int64_t length = std::min<int64_t>(1 + spec.below(70), spec.keyLimit() - first);
    call.segments.back().push_back({slot, int32_t(length), int32_t(first)});
    slot += length + 2;
  }
  call.slots = slot;
  spec.fillInputs(call);

  Call emulated;
  emulated.heads = call.heads;
  emulated.kvHeads = call.kvHeads;
  emulated.queries = call.queryLength;
  emulated.queryPosition = call.queryPosition;
  emulated.slots = call.slots;
  emulated.scale = a.scale.value_or(0);
  emulated.seed = 1;
  emulated.params = call.bindings.params;
  for (const oracle::Segment &s : call.segments[0])
    emulated.segments.push_back({s.firstSlot, s.length, s.firstPosition});
  for (const oracle::TableData &table : call.bindings.tables)
    emulated.tables.push_back({table.extents, table.values});
  for (const oracle::InputData &input : call.bindings.inputs)
    emulated.inputs.push_back({input.rows > 1, input.heads > 1, input.dims > 1, input.values});
  Tensors tensors = makeTensors(info, emulated);
  auto wide = [](const std::vector<float> &values) {
    std::vector<double> result;
    for (float x : values)
      result.push_back(std::isnan(x) ? 0 : x); // the oracle never reads these
    return result;
  };
  std::vector<double> q = wide(tensors.q), k = wide(tensors.k), v = wide(tensors.v);
  auto expected = oracle::attentionReference(a, call, {q, k, v});
  ASSERT_TRUE(expected.ok()) << expected.error;
  try {
    Attention got = emulate(output->text, info, emulated, tensors);
    Attention want;
    want.out.assign(expected.o.begin(), expected.o.end());
    want.lse.assign(expected.lse.begin(), expected.lse.end());
    EXPECT_LE(outputError(info, got, want), limit);
    if (a.emitLse) {
      EXPECT_LE(lseError(got, want), 5 * limit);
    }
  } catch (const ptxemu::Error &error) {
    FAIL() << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(Shipped, PtxSpec, testing::ValuesIn(interpreter::shippedSpecs()),
                         [](auto &info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(Published, PtxSpec, testing::ValuesIn(interpreter::publishedSpecs()),
                         [](auto &info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

} // namespace
} // namespace attn::test
