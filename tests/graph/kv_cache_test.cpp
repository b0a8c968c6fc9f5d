// Int8 caches against their definition: rows are quantised when they are written,
// keys are roped from the cache, and attention sees what the cache says.
#include "tests/graph/graph_fixture.h"
#include <cmath>

using namespace attn;
using namespace attn::test;
using Floats = std::vector<float>;

namespace {

constexpr int kHeads = 2, kSlots = 6, kNew = 2, kDim = 8;

OnnxBuilder attending(bool roped, bool twice = false) {
  OnnxBuilder b;
  const Dims cache = {1, kHeads, kSlots, kDim}, fresh = {1, kHeads, kNew, kDim};
  b.input("q", kF32, fresh).input("k", kF32, cache).input("v", kF32, cache);
  b.input("k.new", kF32, fresh).input("v.new", kF32, fresh);
  b.input("at", kI64, {1}).input("length", kI64, {1}).input("pos", kI64, {1, kSlots});
  b.constant<float>("cos", {9, kDim / 2}, random_floats(9 * kDim / 2, 1))
      .constant<float>("sin", {9, kDim / 2}, random_floats(9 * kDim / 2, 2));
  b.node("TensorScatter", {"k", "k.new", "at"}, {"k.out"});
  b.node("TensorScatter", {"v", "v.new", "at"}, {"v.out"});
  if (roped)
    b.node("RotaryEmbedding", {"k.out", "cos", "sin", "pos"}, {"kr"});
  b.node("Attention", {"q", roped ? "kr" : "k.out", "v.out", "", "", "", "length"}, {"o"});
  if (twice)
    b.node("Neg", {"v.out"}, {"spy"}).output("spy");
  b.output("o").output("k.out").output("v.out");
  return b;
}

// What an int8 row stands for, by its definition.
void round_row(float *row) {
  float top = 0;
  for (int i = 0; i < kDim; ++i)
    top = std::max(top, std::fabs(row[i]));
  const float scale = top / 127.0f;
  for (int i = 0; i < kDim; ++i)
    row[i] = scale > 0 ? std::nearbyint(row[i] / scale) * scale : 0;
}

struct Inputs {
  Floats q, k, v;
  int64_t at, length;
  std::vector<int64_t> pos;
};

Inputs step(uint32_t seed) {
  std::mt19937 engine(seed);
  Inputs in;
  in.q = random_floats(kHeads * kNew * kDim, seed);
  in.k = random_floats(kHeads * kNew * kDim, seed + 1000);
  in.v = random_floats(kHeads * kNew * kDim, seed + 2000);
  in.at = engine() % (kSlots - kNew + 1);
  in.length = 1 + engine() % kSlots;
  for (int i = 0; i < kSlots; ++i)
    in.pos.push_back(seed % 3 ? i : engine() % 9);
  return in;
}

void give(Runner &r, const Inputs &in) {
  r.set("q", in.q).set("k.new", in.k).set("v.new", in.v);
  r.set<int64_t>("at", {in.at}).set<int64_t>("length", {in.length}).set("pos", in.pos);
}

graph::CacheChoice all() {
  return [](const graph::NodeView &) { return true; };
}

} // namespace

TEST(Int8Cache, RowsAreRoundedWhenWritten) {
  // An f32 session whose new rows were rounded beforehand sees the same cache.
  Runner narrow(attending(false), true, true, all()), wide(attending(false));
  ASSERT_TRUE(narrow.status().ok()) << narrow.status().to_string();
  ASSERT_EQ(narrow.count("QuantisedScatter"), 2u);
  EXPECT_EQ(narrow.session().find("k")->dtype, graph::DType::i8);
  for (uint32_t i = 0; i < 20; ++i) {
    Inputs in = step(i);
    give(narrow, in);
    for (Floats *x : {&in.k, &in.v})
      for (size_t row = 0; row < x->size(); row += kDim)
        round_row(x->data() + row);
    give(wide, in);
    expect_near(narrow.run().get("o"), wide.run().get("o"), 1e-5f);
  }
}

TEST(Int8Cache, KeysAreRopedFromTheCache) {
  // However often positions change, the error stays that of two roundings.
  Runner narrow(attending(true), true, true, all()), wide(attending(true));
  ASSERT_EQ(narrow.count("RopeCache"), 1u);
  for (uint32_t i = 0; i < 60; ++i) {
    Inputs in = step(i);
    give(narrow, in), give(wide, in);
    expect_near(narrow.run().get("o"), wide.run().get("o"), 0.05f);
  }
}

TEST(Int8Cache, TakesAQuarterOfTheMemory) {
  Runner narrow(attending(true), true, true, all()), wide(attending(true));
  const size_t rows = kHeads * kSlots;
  EXPECT_EQ(wide.session().memory().caches, 3 * rows * kDim * sizeof(float));
  EXPECT_EQ(narrow.session().memory().caches, 3 * rows * (kDim + sizeof(float)));
}

TEST(Int8Cache, WritesBeyondTheCacheAreRefused) {
  Runner r(attending(true), true, true, all());
  for (int64_t at : {-1, kSlots - kNew + 1}) {
    r.set<int64_t>("at", {at});
    EXPECT_FALSE(r.session().run().ok());
  }
}

TEST(Int8Cache, ACacheThatSomethingElseReadsStaysAsItIs) {
  Runner r(attending(true, true), true, true, all());
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  EXPECT_EQ(r.count("QuantisedScatter"), 0u);
  EXPECT_EQ(r.session().find("v")->dtype, graph::DType::f32);
}

TEST(CacheWrites, AreCountedPerRow) {
  Runner r(attending(true));
  const uint64_t *k = r.session().find("k")->row_writes;
  ASSERT_TRUE(k);
  EXPECT_EQ(k, r.session().find("k.out")->row_writes);
  r.set<int64_t>("at", {3}).set<int64_t>("length", {6}).run();
  std::vector<uint64_t> before(k, k + kSlots);
  r.run();
  for (int i = 0; i < kSlots; ++i)
    EXPECT_EQ(k[i] - before[static_cast<size_t>(i)], i == 3 || i == 4 ? 1u : 0u) << i;
  r.session().forget();
  EXPECT_GT(k[0], before[0]);
}
