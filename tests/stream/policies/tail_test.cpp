// Equal keys at the end of a text are given once, and weigh what all of them did.
#include "runtime/device/device.h"
#include "runtime/graph/build.h"
#include "runtime/graph/session.h"
#include "runtime/onnx/load_model.h"
#include "runtime/stream/attention_dispatch.h"
#include "tests/onnx/onnx_builder.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>

using namespace attn;

namespace {

constexpr int64_t kHeads = 2, kRows = 8, kWords = 64, kDim = 64;

struct Result {
  std::vector<float> out;
  uint64_t merged = 0;
};

// One Attention node over text keys on the compiled kernel, run twice; or on the reference.
Result run(const std::vector<float> &q, const std::vector<float> &k, const std::vector<float> &v,
           bool compiled, bool merge) {
  test::OnnxBuilder b;
  for (auto [name, tokens] :
       {std::pair("q", kRows), std::pair("k", kWords), std::pair("v", kWords)})
    b.input(name, test::kF32, {1, kHeads, tokens, kDim});
  b.node("Attention", {"q", "k", "v"}, {"o"}, {}, "cross").output("o");
  const std::string bytes = b.model();
  auto model =
      onnx::parse_model({reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()}, "");
  EXPECT_TRUE(model.ok()) << model.status().to_string();
  auto graph = graph::build_graph(*model);
  EXPECT_TRUE(graph.ok()) << graph.status().to_string();
  auto bundle = Bundle::open(ATTN_POLICY_BUNDLE);
  EXPECT_TRUE(bundle.ok()) << bundle.status().to_string();
  auto device = open_device("cpu");
  stream::Description description;
  description.attention.push_back({"cross", "*", "tail"});
  stream::CacheView view;
  stream::AttentionDispatch dispatch(description, compiled ? &*bundle : nullptr, **device,
                                     !compiled, view, {}, stream::CacheType::f32, {"m"}, merge);
  graph::SessionOptions options;
  options.attention = dispatch.maker();
  ThreadPool pool(1);
  auto session = graph::Session::create(std::move(*graph), pool, options);
  EXPECT_TRUE(session.ok()) << session.status().to_string();
  const std::pair<const char *, const std::vector<float> *> inputs[] = {
      {"q", &q}, {"k", &k}, {"v", &v}};
  for (auto [name, values] : inputs)
    std::memcpy((*session)->find(name)->data, values->data(), values->size() * sizeof(float));
  for (int times = 0; times < 2; ++times) {
    Status status = (*session)->run(0);
    EXPECT_TRUE(status.ok()) << status.to_string();
  }
  Result result;
  const graph::Tensor *o = (*session)->find("o");
  result.out.assign(o->as<float>(), o->as<float>() + o->elements());
  result.merged = dispatch.stats().merged_keys;
  return result;
}

double distance(const std::vector<float> &a, const std::vector<float> &b) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double(a[i]) - b[i], 2);
    norm += std::pow(double(b[i]), 2);
  }
  return std::sqrt(difference / norm);
}

class Tail : public testing::Test {
  std::mt19937 engine_{7}; // first: the numbers below come from it
  std::normal_distribution<float> normal_;

protected:
  std::vector<float> numbers(size_t n) {
    std::vector<float> v(n);
    for (float &x : v)
      x = normal_(engine_);
    return v;
  }
  // Makes the rows of all heads from `first` on like the last one.
  static void pad(std::vector<float> &x, int64_t first) {
    for (int64_t h = 0; h < kHeads; ++h) {
      const auto row = [&](int64_t t) { return x.begin() + (h * kWords + t) * kDim; };
      for (int64_t t = first; t + 1 < kWords; ++t)
        std::copy_n(row(kWords - 1), kDim, row(t));
    }
  }
  std::vector<float> q = numbers(kHeads * kRows * kDim), k = numbers(kHeads * kWords * kDim),
                     v = numbers(kHeads * kWords * kDim);
};

TEST_F(Tail, EqualKeysAreOneAndWeighAsMuch) {
  pad(k, 23);
  pad(v, 23);
  const Result all = run(q, k, v, false, false), whole = run(q, k, v, true, false),
               merged = run(q, k, v, true, true);
  EXPECT_EQ(whole.merged, 0u);
  EXPECT_EQ(merged.merged, 2u * 40); // of 41 equal keys, at each of two launches
  EXPECT_LT(distance(whole.out, all.out), 1e-5);
  EXPECT_LT(distance(merged.out, all.out), 1e-5);
  EXPECT_NE(merged.out, whole.out); // it was another sum
}

TEST_F(Tail, KeysWithOtherValuesStay) {
  pad(k, 23);
  pad(v, 50);
  const Result merged = run(q, k, v, true, true);
  EXPECT_EQ(merged.merged, 2u * 13);
  EXPECT_LT(distance(merged.out, run(q, k, v, false, false).out), 1e-5);
}

TEST_F(Tail, OneHeadThatDiffersKeepsAll) {
  pad(k, 23);
  pad(v, 23);
  v[(1 * kWords + kWords - 2) * kDim] += 1e-3f; // the last but one of the second head
  const Result merged = run(q, k, v, true, true);
  EXPECT_EQ(merged.merged, 0u);
  EXPECT_LT(distance(merged.out, run(q, k, v, false, false).out), 1e-5);
}

TEST_F(Tail, ATextOfPaddingAloneIsOneKey) {
  pad(k, 0);
  pad(v, 0);
  const Result merged = run(q, k, v, true, true);
  EXPECT_EQ(merged.merged, 2u * 63);
  EXPECT_LT(distance(merged.out, run(q, k, v, false, false).out), 1e-5);
}

} // namespace
