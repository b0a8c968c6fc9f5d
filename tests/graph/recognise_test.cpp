// Attention that a model spells out, and the specs of attention nodes. The kernels of
// such specs are compared with ONNX's expectations in tests/onnx.
#include "runtime/graph/derive_spec.h"
#include "runtime/graph/recognise_attention.h"
#include "runtime/ops/attention.h"
#include "tests/graph/graph_fixture.h"
#include <cmath>
#include <deque>

using namespace attn;
using namespace attn::test;
using Floats = std::vector<float>;

namespace {

// Constants point into the model's bytes, which live as long as the program.
graph::Graph build(const OnnxBuilder &b) {
  static std::deque<std::string> models;
  const std::string &bytes = models.emplace_back(b.model());
  auto model =
      onnx::parse_model({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}, "");
  EXPECT_TRUE(model.ok()) << model.status().to_string();
  auto graph = graph::build_graph(*model);
  EXPECT_TRUE(graph.ok()) << graph.status().to_string();
  return std::move(*graph);
}

// The only attention node after recognition, or null.
const graph::Node *recognised(graph::Graph &g) {
  graph::recognise_attention(g);
  const graph::Node *found = nullptr;
  for (const graph::Node &node : g.nodes)
    if (node.op == "Attention")
      found = &node;
  return found;
}

std::string spec_of(graph::Graph &g) {
  const graph::Node *node = recognised(g);
  if (!node)
    return "not recognised";
  auto spec = graph::derive_spec({g, *node});
  return spec.ok() ? spec->text : spec.status().to_string();
}

bool says(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

// q, k, v (1, heads, 3, 8); scores of q and k as "s".
OnnxBuilder spelled_out(int64_t kv_heads = 2) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 2, 3, 8}).input("k", kF32, {1, kv_heads, 3, 8});
  b.input("v", kF32, {1, kv_heads, 3, 8}).constant<float>("c", {}, {0.25f});
  return b;
}
OnnxBuilder &turn(OnnxBuilder &b, const std::string &k) {
  return b.node("Transpose", {k}, {"kt"}, {attr("perm", std::vector<int64_t>{0, 1, 3, 2})});
}
OnnxBuilder &finish(OnnxBuilder &b, const std::string &scores, const std::string &v = "v") {
  return b.node("Softmax", {scores}, {"p"}).node("MatMul", {"p", v}, {"y"}, {}, "last").output("y");
}

const Floats kCausal = {0, -INFINITY, -INFINITY, 0, 0, -INFINITY, 0, 0, 0};

// The same graph with plain operators and with its attention recognised.
void expect_same(const OnnxBuilder &b, size_t k_elements) {
  Floats y[2];
  for (int i = 0; i < 2; ++i) {
    graph::Graph g = build(b);
    graph::SessionOptions options;
    if (i == 1)
      options.attention = [](const graph::MakeContext &c) {
        return ops::make_reference_attention(c);
      };
    ThreadPool pool(1);
    auto session = graph::Session::create(std::move(g), pool, options);
    ASSERT_TRUE(session.ok()) << session.status().to_string();
    auto set = [&](const char *name, const Floats &x) {
      std::memcpy((*session)->find(name)->data, x.data(), x.size() * sizeof(float));
    };
    set("q", random_floats(48, 1));
    set("k", random_floats(k_elements, 2));
    set("v", random_floats(k_elements, 3));
    ASSERT_TRUE((*session)->run().ok());
    const graph::Tensor *t = (*session)->find("y");
    y[i].assign(t->as<float>(), t->as<float>() + t->elements());
  }
  expect_near(y[0], y[1], 1e-6f);
}

} // namespace

TEST(Recognise, AConstantCausalMaskIsCausal) {
  OnnxBuilder b = spelled_out();
  turn(b, "k").constant<float>("m", {3, 3}, kCausal).node("MatMul", {"q", "kt"}, {"s"});
  finish(b.node("Mul", {"s", "c"}, {"sc"}).node("Add", {"m", "sc"}, {"sm"}), "sm");
  graph::Graph g = build(b);
  const std::string spec = spec_of(g);
  EXPECT_TRUE(says(spec, "mask  causal(i)\n") && says(spec, "scale 0.25")) << spec;
  EXPECT_FALSE(says(spec, "table")) << spec;
  expect_same(b, 48);
}

TEST(Recognise, SoftcapBeforeTheMask) {
  OnnxBuilder b = spelled_out();
  turn(b, "k").constant<float>("cap", {}, {2}).node("MatMul", {"q", "kt"}, {"s"});
  b.node("Div", {"s", "cap"}, {"d"}).node("Tanh", {"d"}, {"t"}).node("Mul", {"t", "cap"}, {"sc"});
  finish(b, "sc");
  graph::Graph g = build(b);
  const std::string spec = spec_of(g);
  EXPECT_TRUE(says(spec, "score softcap(s, 2.0)") && says(spec, "scale 1.0")) << spec;
  expect_same(b, 48);
}

TEST(Recognise, RepeatedHeadsAreGroupedQueries) {
  OnnxBuilder b = spelled_out(1);
  b.constant<int64_t>("axis", {1}, {2}).constant<int64_t>("wide", {5}, {1, 1, 2, 3, 8});
  b.constant<int64_t>("flat", {4}, {1, 2, 3, 8});
  for (std::string x : {"k", "v"})
    b.node("Unsqueeze", {x, "axis"}, {x + "1"})
        .node("Expand", {x + "1", "wide"}, {x + "2"})
        .node("Reshape", {x + "2", "flat"}, {x + "3"});
  finish(turn(b, "k3").node("MatMul", {"q", "kt"}, {"s"}), "s", "v3");
  graph::Graph g = build(b);
  EXPECT_TRUE(says(spec_of(g), "heads 2 kv 1 dim 8"));
  expect_same(b, 24);
}

TEST(Recognise, KeysThatWereTurnedByAnotherTranspose) {
  OnnxBuilder b;
  b.input("q", kF32, {2, 3, 8}).input("k", kF32, {2, 8, 3}).input("v", kF32, {2, 3, 8});
  finish(b.node("MatMul", {"q", "k"}, {"s"}), "s");
  graph::Graph g = build(b);
  EXPECT_TRUE(says(spec_of(g), "heads 2 dim 8")); // three axes: the first is heads
  expect_same(b, 48);
}

TEST(Recognise, LeavesAloneWhatMeansSomethingElse) {
  // Weights that are handed out; a scale after the mask; a fill that is a number, which
  // makes a mean of rows that see nothing; a softmax over another axis.
  for (int which = 0; which < 4; ++which) {
    OnnxBuilder b = spelled_out();
    turn(b, "k").constant<float>("m", {3, 3}, Floats(9, 1)).node("MatMul", {"q", "kt"}, {"s"});
    b.input("seen", kBool, {3, 3}).constant<float>("fill", {}, {-1e9f});
    if (which == 0)
      finish(b, "s").output("p");
    else if (which == 1)
      finish(b.node("Add", {"s", "m"}, {"a"}).node("Mul", {"a", "c"}, {"sc"}), "sc");
    else if (which == 2)
      finish(b.node("Where", {"seen", "s", "fill"}, {"w"}), "w");
    else
      b.node("Softmax", {"s"}, {"p"}, {attr("axis", 1)})
          .node("MatMul", {"p", "v"}, {"y"})
          .output("y");
    graph::Graph g;
    if (which == 3) { // only the last axis is run at all
      const std::string bytes = b.model();
      auto model =
          onnx::parse_model({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}, "");
      EXPECT_FALSE(graph::build_graph(*model).ok());
      continue;
    }
    g = build(b);
    EXPECT_EQ(recognised(g), nullptr) << which;
  }
}

TEST(DeriveSpec, EqualNodesHaveOneSpecAndOthersAnother) {
  auto name = [](float scale, int64_t window) {
    OnnxBuilder b;
    b.input("q", kF32, {1, 2, 3, 8}).input("k", kF32, {1, 2, 3, 8}).input("v", kF32, {1, 2, 3, 8});
    b.node("Attention", {"q", "k", "v"}, {"y"},
           {attr("scale", scale), attr("is_causal", 1), attr("left_window_size", window)});
    graph::Graph g = build(b.output("y"));
    auto spec = graph::derive_spec({g, g.nodes[0]});
    EXPECT_TRUE(spec.ok()) << spec.status().to_string();
    return spec->name;
  };
  EXPECT_EQ(name(0.5f, 1), name(0.5f, 1));
  EXPECT_NE(name(0.5f, 1), name(0.5f, 2));
  EXPECT_NE(name(0.5f, 1), name(0.25f, 1));
  EXPECT_TRUE(says(name(0.5f, 1), "window_h2_d8_"));
}

TEST(DeriveSpec, SaysWhyThereIsNone) {
  OnnxBuilder b;
  b.input("q", kF32, {1, 2, 3, 8}).input("k", kF32, {1, 2, 3, 8}).input("v", kF32, {1, 2, 3, 8});
  b.node("Attention", {"q", "k", "v"}, {"y", "", "", "p"}).output("y").output("p");
  graph::Graph g = build(b);
  EXPECT_TRUE(says(spec_of(g), "hands out its products"));
}
