// Schedules, interpreted role by role under random orders, against the kernels that
// they were made from: a schedule changes nothing but the rounding of probabilities.
#include "compiler/target/ptx/HopperSchedule.h"
#include "tests/interpreter/SpecCase.h"
#include "tests/interpreter/TileInterpreter.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/Verifier.h"

#include <gtest/gtest.h>

#include <cmath>

namespace attn::interpreter {
namespace {

using mlir::attn::HopperConfig;
using mlir::tile::KernelOp;
using mlir::tile::Pipeline;

struct Problem {
  KernelCall call;
  std::vector<double> q, k, v;

  explicit Problem(SpecCase &spec) {
    const spec::AttentionSpec &a = spec.attention();
    call.heads = spec.bindings.heads;
    call.kvHeads = spec.bindings.kvHeads;
    call.rows = 5 + spec.below(30);
    call.queryPosition = spec.position(spec.queryLimit());
    call.scale = a.scale.value_or(1 / std::sqrt(double(a.qkDim)));
    call.params = spec.bindings.params;
    for (const oracle::TableData &table : spec.bindings.tables)
      call.tables.push_back({table.extents, table.values});
    call.segments.emplace_back();
    int32_t slot = 2;
    for (int i = 0; i < 3; ++i) {
      int64_t first = i == 0 ? 0 : spec.position(spec.keyLimit());
      if (i == 1) // keys that the queries are likely to see
        first =
            std::max<int64_t>(0, std::min<int64_t>(call.queryPosition, spec.keyLimit() - 1) - 30);
      int64_t length = std::min<int64_t>(spec.below(60), spec.keyLimit() - first);
      call.segments.back().push_back({slot, int32_t(length), int32_t(first)});
      slot += length + 1;
    }
    call.slots = slot;
    std::normal_distribution<float> normal;
    auto fill = [&](std::vector<double> &values, int64_t count) {
      for (int64_t i = 0; i < count; ++i)
        values.push_back(normal(spec.random));
      return std::span<const double>(values);
    };
    call.q = fill(q, int64_t(call.heads) * call.rows * a.qkDim);
    call.k = fill(k, int64_t(call.kvHeads) * call.slots * a.qkDim);
    call.v = fill(v, int64_t(call.kvHeads) * call.slots * a.vDim);
  }
};

HopperConfig configOf(Pipeline pipeline) {
  HopperConfig config;
  config.blockK = 16;
  config.pipeline = pipeline;
  return config;
}

// The largest difference, infinite if the two disagree on what is a number.
double difference(const std::vector<double> &a, const std::vector<double> &b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    double distance = a[i] == b[i] ? 0 : std::fabs(a[i] - b[i]);
    worst = std::max(worst, std::isnan(distance) ? INFINITY : distance);
  }
  return worst;
}

KernelOp scheduled(KernelOp kernel, const HopperConfig &config) {
  mlir::OpBuilder builder(kernel);
  auto clone = mlir::cast<KernelOp>(builder.clone(*kernel));
  EXPECT_EQ(mlir::attn::whyNotHopper(clone, config), "");
  mlir::attn::scheduleForHopper(clone, config);
  return clone;
}

class Schedules : public testing::TestWithParam<std::string> {};

TEST_P(Schedules, ComputeWhatTheKernelDoes) {
  SpecCase spec(GetParam(), 3);
  ASSERT_EQ(spec.error(), "");
  KernelOp kernel = spec.lower({mlir::attn::kHopperBlockQ, 16, "bf16", "f32"});
  ASSERT_TRUE(kernel);
  Problem problem(spec);
  KernelResult expected = runKernel(kernel, problem.call);
  EXPECT_GT(expected.full + expected.partial, 0);
  for (Pipeline pipeline : {Pipeline::simple, Pipeline::overlap, Pipeline::pingpong}) {
    KernelOp schedule = scheduled(kernel, configOf(pipeline));
    ASSERT_TRUE(mlir::succeeded(mlir::verify(schedule)));
    for (uint64_t seed : {1, 2}) {
      problem.call.seed = seed;
      KernelResult found = runKernel(schedule, problem.call);
      EXPECT_EQ(found.fault, "");
      EXPECT_LE(difference(found.o, expected.o), 0.02) << stringifyPipeline(pipeline).str();
      EXPECT_LE(difference(found.lse, expected.lse), 1e-9) << stringifyPipeline(pipeline).str();
      EXPECT_EQ(found.full, expected.full);
      EXPECT_EQ(found.partial, expected.partial);
    }
    schedule.erase();
  }
}

INSTANTIATE_TEST_SUITE_P(Specs, Schedules,
                         testing::Values("causal", "grouped_query", "longlive_self", "packed_alibi",
                                         "sink_window", "softcap"),
                         [](auto &info) { return info.param; });

// Faults that the verifier refuses, or cannot know of, show when they run.
class BrokenSchedule : public testing::Test {
protected:
  SpecCase spec{"sink_window", 3};
  KernelOp kernel = spec.lower({mlir::attn::kHopperBlockQ, 16, "bf16", "f32"});
  Problem problem{spec};

  // Whether some seed shows a fault or other results.
  bool shows(KernelOp schedule) {
    KernelResult expected = runKernel(kernel, problem.call);
    for (uint64_t seed = 0; seed < 30; ++seed) {
      problem.call.seed = seed;
      KernelResult found = runKernel(schedule, problem.call);
      if (!found.fault.empty() || difference(found.o, expected.o) > 0.02)
        return true;
    }
    return false;
  }
};

TEST_F(BrokenSchedule, ReleaseBeforeTheProductIsDone) {
  KernelOp schedule = scheduled(kernel, configOf(Pipeline::simple));
  EXPECT_FALSE(shows(schedule));
  schedule.walk([](mlir::tile::ConsumeKeysOp op) {
    for (mlir::Region *region : {&op.getFull(), &op.getPartial()}) {
      auto release = *region->front().getOps<mlir::tile::ReleaseOp>().begin();
      release->moveBefore(&region->front().front());
    }
  });
  EXPECT_TRUE(mlir::failed(mlir::verify(schedule)));
  EXPECT_TRUE(shows(schedule));
}

TEST_F(BrokenSchedule, TailThatIsNotCleared) {
  KernelOp schedule = scheduled(kernel, configOf(Pipeline::overlap));
  EXPECT_FALSE(shows(schedule));
  std::vector<mlir::Operation *> clears;
  schedule.walk([&](mlir::tile::ClearTailOp op) { clears.push_back(op); });
  EXPECT_EQ(clears.size(), 2u);
  for (mlir::Operation *op : clears)
    op->erase();
  EXPECT_TRUE(shows(schedule));
}

TEST_F(BrokenSchedule, SlotThatIsNeverReleased) {
  KernelOp schedule = scheduled(kernel, configOf(Pipeline::simple));
  std::vector<mlir::Operation *> releases;
  schedule.walk([&](mlir::tile::ReleaseOp op) { releases.push_back(op); });
  for (mlir::Operation *op : releases)
    op->erase();
  EXPECT_TRUE(shows(schedule)); // a deadlock
}

} // namespace
} // namespace attn::interpreter
