// What the graph builder infers, folds and refuses.
#include "runtime/graph/fuse.h"
#include "tests/graph/graph_fixture.h"

using namespace attn;
using namespace attn::test;

static void expect_refused(const OnnxBuilder &b, const std::string &words) {
  Runner r(b);
  ASSERT_FALSE(r.status().ok());
  EXPECT_EQ(r.status().code(), StatusCode::invalid_input);
  EXPECT_NE(r.status().to_string().find(words), std::string::npos) << r.status().to_string();
}

TEST(BuildGraph, NamesEveryUnknownOperatorAndTheFirstNode) {
  OnnxBuilder b;
  b.input("x", kF32, {1}).node("Conv3D", {"x"}, {"a"}, {}, "patchify").node("Frob", {"a"}, {"y"});
  b.output("y");
  expect_refused(b,
                 "node 'patchify' (Conv3D): uses operators that this runtime lacks: Conv3D, Frob");
}

TEST(BuildGraph, RefusesTheOperatorsThatTheRuntimeMakesItself) {
  OnnxBuilder b;
  b.input("x", kF32, {1}).node("Elementwise", {"x"}, {"y"}, {}, "ours", "attn").output("y");
  expect_refused(b, "uses operators that this runtime lacks: attn::Elementwise");
}

TEST(BuildGraph, RefusesSymbolicSizes) {
  expect_refused(OnnxBuilder().input("x", kF32, {-1}).node("Neg", {"x"}, {"y"}).output("y"),
                 "no size for dimension 0 ('n')");
}

TEST(BuildGraph, RefusesArraysThatTheModelDoesNotDeclare) {
  // The batch reaches no operator that would mind.
  const std::string bytes =
      OnnxBuilder().input("x", kF32, {1, 3, -1}).node("Neg", {"x"}, {"y"}).output("y").model();
  auto model =
      onnx::parse_model({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}, "");
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  auto build = [&](std::vector<int64_t> shape) {
    graph::BuildOptions options;
    options.shapes["x"] = std::move(shape);
    return graph::build_graph(*model, options).status().to_string();
  };
  EXPECT_EQ(build({1, 3, 7}), "ok");
  EXPECT_EQ(build({2, 3, 7}).find("graph input 'x': is given with shape [2, 3, 7]; the model "
                                  "declares [1, 3, n]: give one of that shape"),
            0u)
      << build({2, 3, 7});
  EXPECT_NE(build({1, 3}).find("is given with shape [1, 3]; the model declares"),
            std::string::npos);
}

TEST(BuildGraph, RefusesShapesThatDoNotFit) {
  OnnxBuilder b;
  b.input("x", kF32, {2, 3}).constant<float>("w", {4, 5}, std::vector<float>(20));
  b.node("MatMul", {"x", "w"}, {"y"}, {}, "fc1").output("y");
  expect_refused(b, "node 'fc1' (MatMul): cannot multiply [2, 3] by [4, 5]");
}

TEST(BuildGraph, RefusesShapesComputedAtRunTime) {
  OnnxBuilder b;
  b.input("x", kF32, {6}).input("s", kI64, {2}).node("Reshape", {"x", "s"}, {"y"}).output("y");
  expect_refused(b, "computed at run time");
}

TEST(BuildGraph, FoldsShapeArithmetic) {
  // reshape(x, concat(shape(x)[0:1], [-1])) as exporters write it
  OnnxBuilder b;
  b.input("x", kF32, {2, 3, 4})
      .constant<int64_t>("zero", {1}, {0})
      .constant<int64_t>("one", {1}, {1});
  b.constant<int64_t>("rest", {1}, {-1});
  b.node("Shape", {"x"}, {"shape"}).node("Slice", {"shape", "zero", "one"}, {"first"});
  b.node("Concat", {"first", "rest"}, {"to"}, {attr("axis", 0)});
  b.node("Reshape", {"x", "to"}, {"y"}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  EXPECT_EQ(r.session().find("y")->shape, (graph::Shape{2, 12}));
  EXPECT_EQ(r.count("Shape") + r.count("Slice") + r.count("Concat"), 0u);
}

TEST(BuildGraph, FoldsWeightArithmetic) {
  OnnxBuilder b;
  b.input("x", kF32, {2}).constant<float>("a", {2}, {1, 2}).constant<float>("b", {2}, {3, 4});
  b.node("Mul", {"a", "b"}, {"ab"}).node("Add", {"x", "ab"}, {"y"}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok());
  EXPECT_EQ(r.count("Mul"), 0u);
  EXPECT_EQ(r.set<float>("x", {10, 20}).run().get("y"), (std::vector<float>{13, 28}));
}

TEST(BuildGraph, DropsWhatNobodyReads) {
  OnnxBuilder b;
  b.input("x", kF32, {2}).node("Exp", {"x"}, {"unused"}).node("Neg", {"x"}, {"y"}).output("y");
  Runner r(b);
  EXPECT_EQ(r.session().graph().nodes.size(), 1u);
}

TEST(BuildGraph, ReportsAnIndexOutsideTheTable) {
  OnnxBuilder b;
  b.constant<float>("table", {3, 2}, {0, 1, 2, 3, 4, 5}).input("id", kI64, {1});
  b.node("Gather", {"table", "id"}, {"y"}, {}, "words").output("y");
  Runner r(b);
  r.set<int64_t>("id", {-1}).run();
  EXPECT_EQ(r.get("y"), (std::vector<float>{4, 5}));
  r.set<int64_t>("id", {3});
  Status status = r.session().run();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.to_string(), "node 'words' (Gather): index 3 is outside 0..2");
}

// Hostile files: whatever a changed byte makes of a model, building it must return.
TEST(BuildGraph, SurvivesChangedBytes) {
  OnnxBuilder b;
  b.input("x", kF32, {1, 4, 6}).input("n", kI64, {1});
  b.constant<float>("w", {6, 6}, std::vector<float>(36, 0.5f))
      .constant<float>("g", {6}, std::vector<float>(6, 1));
  b.constant<int64_t>("split", {4}, {1, 4, 2, 3}).constant<int64_t>("s", {1}, {0});
  b.constant<int64_t>("e", {1}, {3}).constant<int64_t>("a", {1}, {1});
  b.node("LayerNormalization", {"x", "g"}, {"y"}, {attr("axis", -1)})
      .node("MatMul", {"y", "w"}, {"z"});
  b.node("Reshape", {"z", "split"}, {"h"})
      .node("Transpose", {"h"}, {"t"}, {attr("perm", Dims{0, 2, 1, 3})});
  b.node("Attention", {"t", "t", "t", "", "", "", "n"}, {"o"}, {attr("is_causal", 1)});
  b.node("Slice", {"o", "s", "e", "a"}, {"p"}).node("Concat", {"p", "o"}, {"q"}, {attr("axis", 1)});
  b.node("Softmax", {"q"}, {"r"}).node("ReduceMean", {"r", "a"}, {"out"}).output("out");
  const std::string text = b.model();
  std::mt19937 engine(9);
  int accepted = 0;
  for (int i = 0; i < 4000; ++i) {
    std::string broken = text;
    for (int k = engine() % 3; k >= 0; --k)
      broken[engine() % broken.size()] = static_cast<char>(engine());
    auto model =
        onnx::parse_model({reinterpret_cast<const uint8_t *>(broken.data()), broken.size()}, "");
    if (!model.ok())
      continue;
    auto graph = graph::build_graph(*model);
    if (!graph.ok())
      continue;
    graph::fuse_graph(*graph);
    if (graph::plan_graph(*graph).ok())
      ++accepted;
  }
  EXPECT_GT(accepted, 100); // weights and names may change freely
}

TEST(Build, ContribAttentionThatIsNotRunIsRefusedAtItsNode) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 2, 16}).input("k", kF32, {1, 2, 8}).input("v", kF32, {1, 2, 8});
  b.input("n", kI32, {1}).input("t", kI32, {});
  b.node("GroupQueryAttention", {"q", "k", "v", "", "", "n", "t"}, {"y"},
         {attr("num_heads", 2), attr("kv_num_heads", 1), attr("smooth_softmax", 1)}, "layer.7",
         "com.microsoft");
  b.output("y");
  Runner r(b);
  const std::string text = r.status().to_string();
  EXPECT_NE(text.find("layer.7"), std::string::npos) << text;
  EXPECT_NE(text.find("smooth_softmax"), std::string::npos) << text;
}
