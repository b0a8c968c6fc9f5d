// Every shipped spec, lowered to tiles of odd sizes and interpreted, against the
// float64 oracle: segments, grouped heads, tails, masked rows, int8.
#include "tests/interpreter/SpecCase.h"
#include "tests/interpreter/TileInterpreter.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

#include <cmath>

namespace attn::interpreter {
namespace {

struct Quantized {
  std::vector<double> values, scales;
};

// Whole numbers in [-127, 127] and a scale per row of `width` values.
Quantized quantizeRows(const std::vector<double> &values, size_t width) {
  Quantized result;
  for (size_t row = 0; row < values.size(); row += width) {
    float most = 0;
    for (size_t i = 0; i < width; ++i)
      most = std::max(most, std::fabs(float(values[row + i])));
    float scale = most / 127.0f;
    result.scales.push_back(scale);
    for (size_t i = 0; i < width; ++i)
      result.values.push_back(scale > 0 ? std::nearbyint(float(values[row + i]) / scale) : 0);
  }
  return result;
}

struct Problem {
  oracle::Call call;
  std::vector<double> q, k, v;
};

Problem makeProblem(SpecCase &spec) {
  const spec::AttentionSpec &a = spec.attention();
  Problem p;
  p.call.batch = a.heads > 8 ? 1 : 2;
  p.call.heads = spec.bindings.heads;
  p.call.kvHeads = spec.bindings.kvHeads;
  p.call.queryLength = 1 + spec.below(a.heads > 8 ? 12 : 27);
  p.call.queryPosition = spec.position(spec.queryLimit());
  // Slots of segments follow one another, with a gap that is never read.
  for (int batch = 0; batch < p.call.batch; ++batch) {
    std::vector<oracle::Segment> segments;
    int32_t slot = 3;
    for (int64_t i = 0, count = 1 + spec.below(4); i < count; ++i) {
      int64_t first = spec.position(spec.keyLimit());
      if (i == 0)
        first = 0;
      int64_t length = std::min<int64_t>(spec.below(41), spec.keyLimit() - first);
      segments.push_back({slot, int32_t(length), int32_t(first)});
      slot += length + 2;
    }
    p.call.slots = std::max(p.call.slots, slot);
    p.call.segments.push_back(segments);
  }
  p.call.bindings = spec.bindings;
  std::normal_distribution<float> normal;
  auto fill = [&](std::vector<double> &values, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      values.push_back(normal(spec.random));
  };
  spec.fillInputs(p.call);
  fill(p.q, int64_t(p.call.batch) * p.call.heads * p.call.queryLength * a.qkDim);
  fill(p.k, int64_t(p.call.batch) * p.call.kvHeads * p.call.slots * a.qkDim);
  fill(p.v, int64_t(p.call.batch) * p.call.kvHeads * p.call.slots * a.vDim);
  return p;
}

KernelCall kernelCall(const Problem &p, const spec::AttentionSpec &a) {
  KernelCall call;
  call.batch = p.call.batch;
  call.heads = p.call.heads;
  call.kvHeads = p.call.kvHeads;
  call.rows = p.call.queryLength;
  call.slots = p.call.slots;
  call.queryPosition = p.call.queryPosition;
  call.scale = a.scale.value_or(1 / std::sqrt(double(a.qkDim)));
  for (const auto &list : p.call.segments) {
    call.segments.emplace_back();
    for (const oracle::Segment &s : list)
      call.segments.back().push_back({s.firstSlot, s.length, s.firstPosition});
  }
  call.params = p.call.bindings.params;
  for (const oracle::TableData &table : p.call.bindings.tables)
    call.tables.push_back({table.extents, table.values});
  for (const oracle::InputData &input : p.call.bindings.inputs)
    call.inputs.push_back({input.batch, input.rows, input.heads, input.dims, input.values});
  return call;
}

void expectEqual(const KernelResult &found, const oracle::Result &expected, bool lse,
                 double tolerance) {
  ASSERT_TRUE(expected.ok()) << expected.error;
  ASSERT_EQ(found.o.size(), expected.o.size());
  double worst = 0;
  for (size_t i = 0; i < found.o.size(); ++i)
    worst = std::max(worst, std::fabs(found.o[i] - expected.o[i]));
  EXPECT_LE(worst, tolerance);
  for (size_t i = 0; lse && i < found.lse.size(); ++i) {
    if (std::isinf(expected.lse[i]))
      EXPECT_EQ(found.lse[i], expected.lse[i]) << "row " << i;
    else
      EXPECT_NEAR(found.lse[i], expected.lse[i], tolerance) << "row " << i;
  }
}

class ShippedSpec : public testing::TestWithParam<std::string> {};

TEST_P(ShippedSpec, f32_equals_oracle) {
  for (uint32_t seed = 0; seed < 4; ++seed) {
    SpecCase spec(GetParam(), seed);
    ASSERT_EQ(spec.error(), "");
    const spec::AttentionSpec &a = spec.attention();
    mlir::attn::TileOptions options;
    options.blockQ = 5 + seed;
    options.blockK = 7 + 3 * seed;
    auto kernel = spec.lower(options);
    ASSERT_TRUE(kernel);
    ASSERT_TRUE(mlir::succeeded(mlir::verify(kernel)));
    Problem problem = makeProblem(spec);
    KernelCall call = kernelCall(problem, a);
    call.q = problem.q;
    call.k = problem.k;
    call.v = problem.v;
    auto expected = oracle::attentionReference(a, problem.call, {problem.q, problem.k, problem.v});
    expectEqual(runKernel(kernel, call), expected, a.emitLse, 2e-5);
  }
}

TEST_P(ShippedSpec, int8_equals_quantized_oracle) {
  SpecCase spec(GetParam(), 99);
  ASSERT_EQ(spec.error(), "");
  const spec::AttentionSpec &a = spec.attention();
  mlir::attn::TileOptions options{6, 11, "int8", "f32"};
  auto kernel = spec.lower(options);
  ASSERT_TRUE(kernel);
  ASSERT_TRUE(mlir::succeeded(mlir::verify(kernel)));
  Problem problem = makeProblem(spec);
  KernelCall call = kernelCall(problem, a);
  Quantized k = quantizeRows(problem.k, a.qkDim), v = quantizeRows(problem.v, a.vDim);
  call.q = problem.q;
  call.k = k.values;
  call.kScale = k.scales;
  call.v = v.values;
  call.vScale = v.scales;
  auto expected = oracle::attentionReference(a, problem.call, {problem.q, problem.k, problem.v},
                                             {true, true, true});
  expectEqual(runKernel(kernel, call), expected, a.emitLse, 2e-5);
}

TEST_P(ShippedSpec, narrow_variants_verify) {
  SpecCase spec(GetParam(), 1);
  ASSERT_EQ(spec.error(), "");
  for (const char *variant : {"bf16", "f16"}) {
    auto kernel = spec.lower({16, 32, variant, "f32"});
    ASSERT_TRUE(kernel);
    EXPECT_TRUE(mlir::succeeded(mlir::verify(kernel)));
  }
}

TEST_P(ShippedSpec, recache_equals_oracle) {
  SpecCase spec(GetParam(), 5);
  ASSERT_EQ(spec.error(), "");
  const spec::AttentionSpec &a = spec.attention();
  if (!a.recache)
    return;
  auto kernel = spec.lower({5, 9, "f32", "f32"}, /*recache=*/true);
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel.getSymName().str(), a.name + "_recache.f32");
  Problem problem = makeProblem(spec);
  KernelCall call = kernelCall(problem, a);
  call.q = problem.q;
  call.k = problem.k;
  call.v = problem.v;
  oracle::Options options;
  options.recacheMask = true;
  auto expected =
      oracle::attentionReference(a, problem.call, {problem.q, problem.k, problem.v}, options);
  expectEqual(runKernel(kernel, call), expected, a.emitLse, 2e-5);
}

// What `parts` of a mask give, merged, is what the whole mask gives: sink logit and
// output expression enter once.
TEST(Merge, parts_equal_the_whole) {
  auto text = [](const std::string &mask, const char *emit) {
    return "attention a {\n  space tok(i: stream)\n  query tok\n  keys tok\n  heads 4 kv 2 dim 16\n"
           "  table logit[head]: f32\n  input gate[q, dim]: f32\n  input bias[head]: bf16\n"
           "  mask causal(i) and " +
           mask +
           "\n  softmax with logit[head]\n  output o * gate + bias * lse + float(q.i)\n  emit " +
           emit + "\n}\n";
  };
  SpecCase whole("a", text("all", "lse"), 3);
  ASSERT_EQ(whole.error(), "");
  Problem problem = makeProblem(whole);
  auto expected = oracle::attentionReference(whole.attention(), problem.call,
                                             {problem.q, problem.k, problem.v});
  std::vector<KernelCall::Part> parts;
  for (const char *mask : {"window(i, 4)", "not window(i, 4) and k.i % 3 != 0",
                           "not window(i, 4) and k.i % 3 == 0", "k.i < 0"}) {
    SpecCase part("a", text(mask, "partial"), 3);
    ASSERT_EQ(part.error(), "");
    auto kernel = part.lower({5, 7, "f32", "f32"});
    ASSERT_TRUE(kernel && mlir::succeeded(mlir::verify(kernel)));
    KernelCall call = kernelCall(problem, part.attention());
    call.q = problem.q, call.k = problem.k, call.v = problem.v;
    KernelResult result = runKernel(kernel, call);
    parts.push_back({result.o, result.lse});
  }
  SpecCase part("a", text("all", "partial"), 3);
  auto kernel = part.lowerMerge({6, 1, "f32", "f32"});
  ASSERT_TRUE(kernel && mlir::succeeded(mlir::verify(kernel)));
  EXPECT_EQ(kernel.getSymName().str(), "a_merge.f32");
  KernelCall call = kernelCall(problem, part.attention());
  call.parts = parts;
  expectEqual(runKernel(kernel, call), expected, true, 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Specs, ShippedSpec, testing::ValuesIn(shippedSpecs()),
                         [](const auto &info) { return info.param; });

} // namespace
} // namespace attn::interpreter
