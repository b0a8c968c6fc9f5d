// The derived tile classes against brute force over the mask: never wrong for
// any shipped spec, and exact for the masks that interval arithmetic decides.
#include "tests/interpreter/ScalarEvaluator.h"
#include "tests/interpreter/SpecCase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace attn::interpreter {
namespace {

constexpr int kBoxes = 150;

struct Found {
  int visitedForNothing = 0, maskedForNothing = 0, empty = 0, full = 0;
};

mlir::tile::ForKeysOp walkOf(mlir::tile::KernelOp kernel) {
  return *kernel.getBody().getOps<mlir::tile::ForKeysOp>().begin();
}

// Compares both regions of the kernel with the oracle's mask, box by box.
void checkBoxes(SpecCase &spec, Found &found) {
  const spec::AttentionSpec &a = spec.attention();
  auto kernel = spec.lower({});
  ASSERT_TRUE(kernel);
  mlir::tile::MaskOp maskOp = *walkOf(kernel).getPartial().getOps<mlir::tile::MaskOp>().begin();
  mlir::Block &mask = maskOp.getBody().front();
  ScalarEnvironment env;
  env.params = spec.bindings.params;
  for (const oracle::TableData &table : spec.bindings.tables)
    env.tables.push_back({table.extents, table.values});
  env.firstTable = kernel.getBindings().size() - a.tables.size();
  env.heads = spec.bindings.heads;
  env.kvHeads = spec.bindings.kvHeads;

  for (int box = 0; box < kBoxes; ++box) {
    int64_t qLow = spec.position(spec.queryLimit()), kLow = spec.position(spec.keyLimit());
    int64_t qHigh = std::min(qLow + spec.below(25), spec.queryLimit() - 1);
    int64_t kHigh = std::min(kLow + spec.below(33), spec.keyLimit() - 1);
    env.head = spec.below(env.heads);
    bool any = false, all = true;
    for (int64_t q = qLow; q <= qHigh; ++q)
      for (int64_t k = kLow; k <= kHigh; ++k) {
        bool admitted = oracle::maskAt(a, spec.bindings, env.batch, env.head, q, k);
        any |= admitted;
        all &= admitted;
      }
    // The kernel's own predicate, at a few pairs of the box.
    for (int pair = 0; pair < 8; ++pair) {
      int64_t q = qLow + spec.below(qHigh - qLow + 1), k = kLow + spec.below(kHigh - kLow + 1);
      auto admitted = evaluateScalars(mask, {{q, 0}, {k, 0}, {env.head, 0}, {env.batch, 0}}, env);
      ASSERT_EQ(admitted[0].integer != 0,
                oracle::maskAt(a, spec.bindings, env.batch, env.head, q, k))
          << "q " << q << ", k " << k;
    }
    TileAnswer derived = classifyTile(walkOf(kernel), qLow, qHigh, kLow, kHigh, env);
    ASSERT_TRUE(derived.any || !any) << "q " << qLow << ".." << qHigh << ", k " << kLow << ".."
                                    << kHigh << ": an admitted pair is skipped";
    ASSERT_TRUE(!derived.all || all) << "q " << qLow << ".." << qHigh << ", k " << kLow << ".."
                                    << kHigh << ": an excluded pair is not masked";
    found.empty += !any;
    found.full += all;
    found.visitedForNothing += derived.any && !any;
    found.maskedForNothing += !derived.all && all;
  }
}

void report(const std::string &name, const Found &found) {
  std::cout << name << ": of " << kBoxes << " tiles " << found.empty << " are empty, "
            << found.visitedForNothing << " of them visited; " << found.full << " are full, "
            << found.maskedForNothing << " of them masked\n";
}

bool readsTokens(const spec::Expr &expr) {
  return expr.op == spec::Op::Position || expr.op == spec::Op::Coordinate ||
         expr.op == spec::Op::Gather ||
         llvm::any_of(expr.operands, [](const spec::ExprPtr &e) { return readsTokens(*e); });
}

// Whether a mask is made of what intervals follow exactly: coordinates, sums,
// quotients, comparisons and their combinations; no remainders, bits or tables.
bool hasClosedForm(const spec::Expr &expr) {
  using spec::Op;
  static const std::set<Op> exact = {
      Op::BoolConstant, Op::IntConstant, Op::Position,     Op::Coordinate, Op::Head,
      Op::Batch,        Op::Layer,       Op::Heads,        Op::KvHeads,    Op::Param,
      Op::Not,          Op::Negate,      Op::Add,          Op::Subtract,   Op::Abs,
      Op::Min,          Op::Max,         Op::And,          Op::Or,         Op::Equal,
      Op::NotEqual,     Op::Less,        Op::LessEqual,    Op::Greater,    Op::GreaterEqual,
      Op::Pattern,      Op::FloorDiv};
  if (!readsTokens(expr))
    return true; // the same for all pairs: evaluated, not bounded
  if (expr.op == Op::FloorDiv && readsTokens(*expr.operands[1]))
    return false;
  return exact.count(expr.op) &&
         llvm::all_of(expr.operands, [](const spec::ExprPtr &e) { return hasClosedForm(*e); });
}

class TileClasses : public testing::TestWithParam<std::string> {};

TEST_P(TileClasses, agree_with_the_mask) {
  SpecCase spec(GetParam(), 7);
  ASSERT_EQ(spec.error(), "");
  Found found;
  checkBoxes(spec, found);
  report(GetParam(), found);
  // Clauses that contradict one another are bounded one by one.
  static const std::set<std::string> conservative = {"flex/empty"};
  if (hasClosedForm(*spec.attention().mask) && !conservative.count(GetParam())) {
    EXPECT_EQ(found.visitedForNothing, 0);
    EXPECT_EQ(found.maskedForNothing, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Specs, TileClasses, testing::ValuesIn(allSpecs()), [](const auto &info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
});

// Masks beyond the shipped specs: each named pattern, and the integer operators.
struct MaskText {
  const char *name, *mask;
};

class MaskClasses : public testing::TestWithParam<MaskText> {};

TEST_P(MaskClasses, agree_with_the_mask) {
  std::string text = std::string("attention masks {\n  param n in 1..9\n"
                                 "  space video(t: 6, y: 5, x: 7)\n"
                                 "  axis b = video.t // 2\n"
                                 "  query video\n  keys video\n  heads 4 dim 8\n"
                                 "  table size[head]: i32\n  table skip[entry]: i32\n  mask ") +
                     GetParam().mask + "\n}\n";
  for (uint32_t seed = 0; seed < 3; ++seed) {
    SpecCase spec("masks", text, seed);
    ASSERT_EQ(spec.error(), "");
    Found found;
    checkBoxes(spec, found);
    report(GetParam().name, found);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Masks, MaskClasses,
    testing::Values(
        MaskText{"band", "band(t, 2, 1) and band(x, n)"},
        MaskText{"prefix", "prefix(t, 2) or same(b)"},
        MaskText{"block_causal", "block_causal(t, 2)"},
        MaskText{"chunked", "chunked(x, 3) and strided(y, 2)"},
        MaskText{"dilated", "dilated(x, 4, 2) or causal_dilated(t, 5, 2)"},
        MaskText{"clamped", "neighborhood(t: 3, y: 3, x: 3, edge clamp)"},
        MaskText{"cut", "neighborhood(t: 3, y: 3 stride 2, x: 4, edge cut)"},
        MaskText{"stride_and_dilation",
                 "neighborhood(t: 3 stride 2, y: 2 dilation 2, x: 3 dilation 2, edge clamp)"},
        MaskText{"causal_neighborhood", "causal_neighborhood(t: 3, y: 3)"},
        MaskText{"radial", "radial(t, x, 7, block 2)"},
        MaskText{"table_of_head", "q.x - k.x < size[head] and k.x - q.x < size[head]"},
        MaskText{"gather", "skip[k.x] < skip[q.y] or causal(t)"},
        MaskText{"bits", "(q.x ^ k.x) & 3 == 0 and q.y | k.y < n - 4"},
        MaskText{"shifts", "q.x >> 1 == k.x >> 1 and 1 << q.y > k.x"},
        MaskText{"arithmetic", "abs(q.t - k.t) * 2 + q.x % 3 < n and min(q.y, k.y) < max(3, k.x)"},
        MaskText{"negative", "(k.x - q.x) // 2 % 3 == 1 or -(q.y) // n >= 0 - k.y"},
        MaskText{"choice",
                 "(if q.t > k.t then q.x else q.y) >= (if head % 2 == 0 then k.x else 2)"},
        MaskText{"floats", "float(q.x) * 0.5 <= k.x or not causal(t)"}),
    [](const auto &info) { return info.param.name; });

} // namespace
} // namespace attn::interpreter
