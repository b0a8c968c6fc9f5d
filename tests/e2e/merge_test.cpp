// Parts that kernels computed, merged by generated kernels through the C interface:
// equal to the whole, on every device that is here.
#include <attn/runtime.hpp>

#include <bit>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>
#include <string_view>
#include <vector>

namespace {

constexpr int kHeads = 4, kKvHeads = 2, kRows = 75;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

attn_tensor_t tensor(std::vector<float> &values, std::vector<int64_t> shape) {
  attn_tensor_t t = ATTN_INIT(attn_tensor_t);
  t.data = values.data();
  t.rank = static_cast<uint32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), t.shape);
  return t;
}

struct Result {
  std::vector<float> o, lse;
};

class Merge : public testing::TestWithParam<const char *> {
protected:
  void SetUp() override {
    attn_status_t *status = attn_device_open(GetParam(), nullptr, &device_);
    if (status) {
      std::string why = attn_status_message(status);
      attn_status_free(status);
      if (std::string_view(GetParam()) == "cpu")
        FAIL() << why;
      GTEST_SKIP() << why;
    }
    ASSERT_EQ(attn_bundle_open(ATTN_MERGE_BUNDLE, &bundle_), nullptr);
  }
  void TearDown() override {
    for (attn_kernel_t *kernel : kernels_)
      attn_kernel_free(kernel);
    attn_bundle_close(bundle_);
    attn_device_close(device_);
  }

  std::vector<float> noise(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float &value : values)
      value = normal(random_);
    return values;
  }
  attn_kernel_t *load(const char *name) {
    attn_kernel_t *kernel = nullptr;
    check(attn_kernel_load(bundle_, device_, name, nullptr, &kernel));
    kernels_.push_back(kernel);
    return kernel;
  }
  static void check(attn_status_t *status) {
    if (!status)
      return;
    ADD_FAILURE() << attn_status_message(status);
    attn_status_free(status);
  }
  static std::string refusal(attn_status_t *status) {
    std::string text = status ? attn_status_message(status) : "";
    attn_status_free(status);
    return text;
  }

  // Keys from position 0 on, rows from `q_position` on.
  struct Problem {
    int dim, keys, q_position;
    std::vector<float> q, k, v;
    std::vector<attn_named_tensor_t> tensors;
    std::vector<attn_named_value_t> params;
  };
  Problem problem(int dim, int keys, int q_position) {
    return {dim,
            keys,
            q_position,
            noise(size_t(kHeads) * kRows * dim),
            noise(size_t(kKvHeads) * keys * dim),
            noise(size_t(kKvHeads) * keys * dim),
            {},
            {}};
  }
  Result attend(const char *name, Problem &p, bool named) {
    Result result{std::vector<float>(p.q.size(), NAN), std::vector<float>(kHeads * kRows, NAN)};
    attn_tensor_t q = tensor(p.q, {1, kHeads, kRows, p.dim}),
                  k = tensor(p.k, {1, kKvHeads, p.keys, p.dim}),
                  v = tensor(p.v, {1, kKvHeads, p.keys, p.dim}),
                  o = tensor(result.o, {1, kHeads, kRows, p.dim}),
                  lse = tensor(result.lse, {1, kHeads, kRows});
    attn_attention_args_t args = ATTN_INIT(attn_attention_args_t);
    args.q = &q, args.k = &k, args.v = &v, args.o = &o, args.lse = &lse;
    if (named)
      args.tensors = p.tensors.data(), args.tensor_count = p.tensors.size();
    args.params = p.params.data(), args.param_count = p.params.size();
    args.q_position = p.q_position;
    check(attn_attention_run(load(name), &args));
    return result;
  }
  struct Parts {
    std::vector<attn_tensor_t> o, lse;
  };
  static Parts tensors(std::vector<Result> &parts, int dim) {
    Parts list;
    for (Result &part : parts) {
      list.o.push_back(tensor(part.o, {1, kHeads, kRows, dim}));
      list.lse.push_back(tensor(part.lse, {1, kHeads, kRows}));
    }
    return list;
  }
  Result merge(const char *name, std::vector<Result> parts, Problem &p) {
    Result result{std::vector<float>(p.q.size(), NAN), std::vector<float>(kHeads * kRows, NAN)};
    Parts list = tensors(parts, p.dim);
    attn_tensor_t o = tensor(result.o, {1, kHeads, kRows, p.dim}),
                  lse = tensor(result.lse, {1, kHeads, kRows});
    attn_merge_args_t args = ATTN_INIT(attn_merge_args_t);
    args.o_parts = list.o.data(), args.lse_parts = list.lse.data(), args.part_count = parts.size();
    args.o = &o, args.lse = &lse;
    args.tensors = p.tensors.data(), args.tensor_count = p.tensors.size();
    args.params = p.params.data(), args.param_count = p.params.size();
    args.q_position = p.q_position;
    check(attn_merge_run(load(name), &args));
    return result;
  }
  static void expect_near(const Result &got, const Result &want) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < want.o.size(); ++i) {
      error += (got.o[i] - want.o[i]) * (got.o[i] - want.o[i]);
      norm += want.o[i] * want.o[i];
    }
    EXPECT_LE(std::sqrt(error / norm), 1e-6);
    for (size_t i = 0; i < want.lse.size(); ++i)
      if (std::isinf(want.lse[i]))
        EXPECT_EQ(got.lse[i], want.lse[i]);
      else
        EXPECT_NEAR(got.lse[i], want.lse[i], 5e-6);
  }

  attn_device_t *device_ = nullptr;
  attn_bundle_t *bundle_ = nullptr;
  std::vector<attn_kernel_t *> kernels_;
  std::mt19937 random_{1};
};

TEST_P(Merge, WindowWithItsComplementIsCausal) {
  for (int q_position : {0, 5, 40}) {
    Problem p = problem(64, 90, q_position);
    p.params = {{"w", 12}};
    Result near = attend("window_part", p, true), far = attend("window_complement", p, true);
    Result merged = merge("window_part_merge", {near, far}, p);
    p.params.clear();
    expect_near(merged, attend("causal", p, true));
  }
}

TEST_P(Merge, SinkLogitAndOutputEnterOnce) {
  Problem p = problem(32, 100, 30);
  std::vector<float> logits = noise(kHeads), gate = noise(p.q.size());
  attn_tensor_t logit = tensor(logits, {kHeads}), gates = tensor(gate, {1, kHeads, kRows, p.dim});
  p.tensors = {{"logit", &logit}};
  // The parts need the table of their spec, and no input: they have no output expression.
  Result near = attend("near", p, true), far = attend("far", p, false);
  p.tensors.push_back({"gate", &gates});
  expect_near(merge("near_merge", {far, near}, p), attend("whole", p, true));
}

TEST_P(Merge, EmptyPartsChangeNoBit) {
  Problem p = problem(64, 90, 3);
  p.params = {{"w", 1000}};
  Result part = attend("window_part", p, true);
  Result empty{std::vector<float>(p.q.size(), NAN),
               std::vector<float>(part.lse.size(), -kInfinity)};
  Result merged = merge("window_part_merge", {empty, part, empty}, p);
  for (size_t i = 0; i < part.o.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(merged.o[i]), std::bit_cast<uint32_t>(part.o[i])) << i;
  for (size_t i = 0; i < part.lse.size(); ++i)
    ASSERT_EQ(std::bit_cast<uint32_t>(merged.lse[i]), std::bit_cast<uint32_t>(part.lse[i])) << i;
  Result nothing = merge("window_part_merge", {empty, empty}, p);
  for (float o : nothing.o)
    ASSERT_EQ(o, 0);
  for (float lse : nothing.lse)
    ASSERT_EQ(lse, -kInfinity);
}

TEST_P(Merge, NanOfAPartIsTheRows) {
  Problem p = problem(64, 90, 3);
  p.params = {{"w", 12}};
  Result near = attend("window_part", p, true), far = attend("window_complement", p, true);
  Result clean = merge("window_part_merge", {near, far}, p);
  near.lse[7] = std::bit_cast<float>(0x7fffffff);
  Result merged = merge("window_part_merge", {near, far}, p);
  for (size_t row = 0; row < merged.lse.size(); ++row) {
    EXPECT_TRUE(row == 7 ? std::isnan(merged.lse[row]) : merged.lse[row] == clean.lse[row]) << row;
    for (size_t i = row * 64; i < (row + 1) * 64; ++i)
      ASSERT_TRUE(row == 7 ? std::isnan(merged.o[i]) : merged.o[i] == clean.o[i]) << row;
  }
}

TEST_P(Merge, RefusesWhatDoesNotFit) {
  Problem p = problem(64, 90, 0);
  p.params = {{"w", 12}};
  std::vector<Result> parts(2, attend("window_part", p, true));
  Result out = parts[0];
  Parts list = tensors(parts, p.dim);
  attn_tensor_t o = tensor(out.o, {1, kHeads, kRows, p.dim}),
                lse = tensor(out.lse, {1, kHeads, kRows});
  attn_merge_args_t args = ATTN_INIT(attn_merge_args_t);
  args.o_parts = list.o.data(), args.lse_parts = list.lse.data(), args.part_count = 2;
  args.o = &o, args.lse = &lse;
  args.params = p.params.data(), args.param_count = 1;
  attn_kernel_t *merging = load("window_part_merge"), *attending = load("window_part");
  auto said = [&] { return refusal(attn_merge_run(merging, &args)); };
  EXPECT_EQ(said(), "");
  EXPECT_NE(refusal(attn_merge_run(attending, &args)).find("merges nothing"), std::string::npos);

  attn_attention_args_t attention = ATTN_INIT(attn_attention_args_t);
  attention.o = &o;
  EXPECT_NE(refusal(attn_attention_run(merging, &attention)).find("merges partial results"),
            std::string::npos);

  list.o[1].shape[2] = kRows - 1;
  auto restore = [&] {
    list = tensors(parts, p.dim);
    args.o_parts = list.o.data(), args.lse_parts = list.lse.data();
  };
  auto expect_said = [&](const char *text) {
    std::string message = said();
    EXPECT_NE(message.find(text), std::string::npos) << message;
  };
  expect_said("part 1 of o has another type, shape or strides");
  restore();
  list.lse[0].type = list.lse[1].type = ATTN_F16;
  expect_said("takes f32");
  restore();
  list.o[0].shape[3] = list.o[1].shape[3] = 32;
  expect_said("head dim 32");
  args.part_count = 0;
  expect_said("at least one");
}

INSTANTIATE_TEST_SUITE_P(Devices, Merge, testing::Values("cpu", "vulkan"),
                         [](const auto &info) { return std::string(info.param); });

} // namespace
