// Plans and sessions: fused equals plain, caches are written in place, results
// that depend on small inputs are remembered, schedules prune.
#include "tests/graph/graph_fixture.h"

using namespace attn;
using namespace attn::test;
using Floats = std::vector<float>;

// A block with all that the fusion pass looks for: modulated norm, three products
// of one input, gated residual, GELU.
static OnnxBuilder block() {
  OnnxBuilder b;
  const int d = 40, t = 9;
  b.input("x", kF32, {1, 2, t, d}).input("mod", kF32, {1, 2, 3, d});
  b.constant<float>("ones", {d}, Floats(d, 1.0f));
  for (const char *w : {"wq", "wk", "wv", "wo"})
    b.constant<float>(w, {d, d}, random_floats(d * d, uint32_t(w[1])));
  for (const char *w : {"bq", "bk", "bo"})
    b.constant<float>(w, {d}, random_floats(d, uint32_t(w[1] + 50)));
  b.node("Split", {"mod"}, {"shift", "scale", "gate"}, {attr("axis", 2), attr("num_outputs", 3)});
  b.node("LayerNormalization", {"x", "ones"}, {"n"}, {attr("epsilon", 1e-6f)});
  b.node("Mul", {"n", "scale"}, {"ns"}).node("Add", {"ns", "shift"}, {"y"});
  b.node("MatMul", {"y", "wq"}, {"q0"}).node("Add", {"q0", "bq"}, {"q"});
  b.node("MatMul", {"y", "wk"}, {"k0"}).node("Add", {"k0", "bk"}, {"k"});
  b.node("MatMul", {"y", "wv"}, {"v"});
  b.node("Mul", {"q", "k"}, {"qk"}).node("Tanh", {"qk"}, {"tqk"}).node("Add", {"tqk", "v"}, {"a"});
  b.node("MatMul", {"a", "wo"}, {"o0"}).node("Add", {"o0", "bo"}, {"o1"});
  b.node("Gelu", {"o1"}, {"o2"}, {attr("approximate", "tanh")});
  b.node("Mul", {"o2", "gate"}, {"g"}).node("Add", {"x", "g"}, {"out"}).output("out");
  return b;
}

TEST(Session, FusedEqualsPlain) {
  Runner fused(block()), plain(block(), false);
  ASSERT_TRUE(fused.status().ok()) << fused.status().to_string();
  ASSERT_TRUE(plain.status().ok()) << plain.status().to_string();
  EXPECT_EQ(fused.count("Norm"), 1u);
  EXPECT_EQ(fused.count("GemmGroup"), 1u);
  EXPECT_EQ(fused.count("Gemm"), 2u); // v takes the sum, o takes gate and residual
  EXPECT_EQ(fused.count("Elementwise"), 1u);
  EXPECT_EQ(fused.session().graph().nodes.size(), 6u);
  Floats x = random_floats(2 * 9 * 40, 1), mod = random_floats(2 * 3 * 40, 2);
  expect_near(fused.set("x", x).set("mod", mod).run().get("out"),
              plain.set("x", x).set("mod", mod).run().get("out"), 2e-4f);
  // Nothing of the first run may show in the second.
  x = random_floats(2 * 9 * 40, 3);
  expect_near(fused.set("x", x).run().get("out"), plain.set("x", x).run().get("out"), 2e-4f);
}

static OnnxBuilder cached() {
  OnnxBuilder b;
  b.input("cache", kF32, {1, 2, 6, 4}).input("new", kF32, {1, 2, 2, 4}).input("at", kI64, {1});
  b.input("pos", kI64, {1, 6});
  b.constant<float>("cos", {8, 2}, random_floats(16, 1))
      .constant<float>("sin", {8, 2}, random_floats(16, 2));
  b.node("TensorScatter", {"cache", "new", "at"}, {"cache.out"}, {attr("axis", -2)});
  b.node("RotaryEmbedding", {"cache.out", "cos", "sin", "pos"}, {"roped"});
  b.node("Neg", {"roped"}, {"y"}).output("y").output("cache.out");
  return b;
}

TEST(Session, CachesAreUpdatedInPlace) {
  Runner r(cached());
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  EXPECT_EQ(r.session().find("cache")->data, r.session().find("cache.out")->data);
  r.set("new", Floats(16, 1.0f))
      .set<int64_t>("at", {2})
      .set<int64_t>("pos", {0, 1, 2, 3, 4, 5})
      .run();
  r.set("new", Floats(16, 2.0f)).set<int64_t>("at", {4}).run();
  Floats c = r.get("cache");
  for (int h = 0; h < 2; ++h)
    for (int i = 0; i < 24; ++i)
      EXPECT_EQ(c[h * 24 + i], i < 8 ? 0 : i < 16 ? 1 : 2);
}

TEST(Session, RefusesAWriteBeyondTheCache) {
  Runner r(cached());
  r.set<int64_t>("at", {5});
  EXPECT_FALSE(r.session().run().ok());
  r.set<int64_t>("at", {-1});
  EXPECT_FALSE(r.session().run().ok());
}

TEST(Session, RopedKeysFollowWritesPositionsAndPrunedRuns) {
  Runner kept(cached()), plain(cached(), false);
  ASSERT_EQ(kept.count("RopeCache"), 1u);
  auto cache_only = kept.session().add_schedule({"cache.out"});
  ASSERT_TRUE(cache_only.ok());
  std::mt19937 engine(5);
  for (int i = 0; i < 40; ++i) {
    Floats fresh = random_floats(16, uint32_t(100 + i));
    int64_t at = static_cast<int64_t>(engine() % 5);
    std::vector<int64_t> pos(6);
    for (int64_t &p : pos)
      p = static_cast<int64_t>(i % 3 ? 1 + i % 2 : engine() % 8);
    bool pruned = engine() % 3 == 0;
    for (Runner *r : {&kept, &plain})
      r->set("new", fresh).set("at", std::vector<int64_t>{at}).set("pos", pos);
    kept.run(pruned ? *cache_only : 0);
    plain.run();
    if (!pruned)
      ASSERT_EQ(kept.get("y"), plain.get("y")) << "run " << i;
  }
  // A cache changed from outside is seen after forget().
  kept.set("cache", Floats(48, 3.0f)).session().forget();
  plain.set("cache", Floats(48, 3.0f));
  EXPECT_EQ(kept.run().get("y"), plain.run().get("y"));
}

TEST(Session, RemembersWhatDependsOnSmallInputs) {
  OnnxBuilder b;
  b.input("x", kF32, {2000}).input("t", kF32, {1}).constant<float>("f", {4}, {1, 2, 3, 4});
  b.constant<int64_t>("column", {2}, {1, 1}).node("Reshape", {"t", "column"}, {"tc"});
  b.node("Mul", {"tc", "f"}, {"a"})
      .node("Cos", {"a"}, {"c"})
      .node("ReduceSum", {"c"}, {"s"}, {attr("keepdims", 0)});
  b.node("Mul", {"x", "s"}, {"y"}).output("y");
  Runner r(b), plain(b, true, false);
  Floats x = random_floats(2000, 1);
  r.set("x", x), plain.set("x", x);
  for (int i = 0; i < 60; ++i) {
    float t = float(i * 7 % 12); // more values than are remembered
    EXPECT_EQ(r.set<float>("t", {t}).run().get("y"), plain.set<float>("t", {t}).run().get("y"));
  }
  EXPECT_GT(r.session().memo_misses(), 12u);
  for (int i = 0; i < 10; ++i)
    r.set<float>("t", {1.0f}).run();
  EXPECT_GE(r.session().memo_hits(), 9u);
  EXPECT_EQ(plain.session().memo_misses(), 0u);
}

TEST(Session, SchedulesRunOnlyWhatTheirOutputsNeed) {
  OnnxBuilder b;
  b.input("x", kF32, {2000})
      .node("Neg", {"x"}, {"a"})
      .node("Exp", {"x"}, {"b"})
      .output("a")
      .output("b");
  Runner r(b);
  auto only = r.session().add_schedule({"a"});
  ASSERT_TRUE(only.ok());
  r.set("x", Floats(2000, 1.0f)).run(*only);
  EXPECT_EQ(r.get("a")[0], -1);
  EXPECT_EQ(r.get("b")[0], 0); // not made
  EXPECT_FALSE(r.session().add_schedule({"c"}).ok());
}

TEST(Session, ArenaIsSharedAndResultsDoNotDependOnThreads) {
  OnnxBuilder b;
  const int n = 1 << 16;
  b.input("x", kF32, {n});
  std::string last = "x";
  for (int i = 0; i < 30; ++i) {
    std::string next = "v" + std::to_string(i);
    // Softmax keeps the chain from being fused.
    b.node(i % 2 ? "Softmax" : "Sin", {last}, {next});
    last = next;
  }
  b.node("Neg", {last}, {"y"}).output("y");
  Runner r(b);
  EXPECT_LE(r.session().memory().arena, size_t(2 * n * 4 + 4096));
  Floats x = random_floats(n, 4);
  Floats first = r.set("x", x).run().get("y");
  EXPECT_EQ(first, r.run().get("y"));
}
