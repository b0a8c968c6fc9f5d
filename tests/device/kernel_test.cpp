// Attention kernels of a bundle against double precision, the same on every
// device: shapes, layouts, segments, grouped heads, many launches.
#include "attention_expected.h"
#include "conformance.h"
#include "runtime/call/select_kernel.h"

#include <random>

using namespace attn;

class DeviceKernel : public ConformanceTest {
protected:
  void SetUp() override {
    ConformanceTest::SetUp();
    if (IsSkipped() || HasFatalFailure())
      return;
    if (!bundle_)
      GTEST_SKIP() << "ATTN_TEST_BUNDLE names no bundle for " << device_->info().id;
  }

  std::unique_ptr<Kernel> kernel(const char *name) {
    Result<std::unique_ptr<Kernel>> loaded =
        load_kernel(*bundle_, *device_, {.name = name, .variant = "f32"});
    EXPECT_TRUE(loaded.ok()) << loaded.status().to_string();
    return loaded.ok() ? std::move(*loaded) : nullptr;
  }

  Problem random_problem(const Kernel &kernel, int64_t batch, int64_t group, int64_t rows,
                         int64_t slots) {
    Problem p;
    const KernelInfo &info = kernel.info();
    p.kv_heads = info.kv_heads ? info.kv_heads : 2;
    p.heads = info.heads ? info.heads : p.kv_heads * group;
    p.batch = batch;
    p.rows = rows;
    p.slots = slots;
    p.dim = info.qk_dim;
    std::normal_distribution<float> normal;
    auto fill = [&](std::vector<float> &values, int64_t count) {
      values.resize(count);
      for (float &value : values)
        value = normal(random_);
    };
    fill(p.q, batch * p.heads * rows * p.dim);
    fill(p.k, batch * p.kv_heads * slots * p.dim);
    fill(p.v, batch * p.kv_heads * slots * p.dim);
    return p;
  }

  // Runs the problem with outputs poisoned beforehand. `tokens_first` lays all
  // tensors out as (batch, tokens, heads, dim).
  Expected run(Kernel &kernel, const Problem &p, bool tokens_first = false) {
    auto arrange = [&](const std::vector<float> &from, int64_t heads, int64_t tokens) {
      std::vector<float> to(from.size());
      for (int64_t i = 0; i < static_cast<int64_t>(from.size()); ++i) {
        int64_t d = i % p.dim, t = i / p.dim % tokens, h = i / p.dim / tokens % heads;
        int64_t b = i / p.dim / tokens / heads;
        to[tokens_first ? ((b * tokens + t) * heads + h) * p.dim + d : i] = from[i];
      }
      return to;
    };
    auto view = [&](Buffer &buffer, int64_t heads, int64_t tokens) {
      TensorView v = contiguous_view(buffer, ElementType::f32, p.batch, heads, tokens, p.dim);
      if (tokens_first) {
        v.strides[1] = p.dim;
        v.strides[2] = heads * p.dim;
      }
      return v;
    };
    std::unique_ptr<Buffer> q = buffer_of(arrange(p.q, p.heads, p.rows));
    std::unique_ptr<Buffer> k = buffer_of(arrange(p.k, p.kv_heads, p.slots));
    std::unique_ptr<Buffer> v = buffer_of(arrange(p.v, p.kv_heads, p.slots));
    std::unique_ptr<Buffer> o = buffer(p.q.size() * 4), lse = buffer(p.q.size() / p.dim * 4);
    EXPECT_TRUE(device_->fill(*o, 0, o->size(), 0x7fc00000).ok());
    EXPECT_TRUE(device_->fill(*lse, 0, lse->size(), 0x7fc00000).ok());
    AttentionArgs args;
    args.q = view(*q, p.heads, p.rows);
    args.k = view(*k, p.kv_heads, p.slots);
    args.v = view(*v, p.kv_heads, p.slots);
    args.o = view(*o, p.heads, p.rows);
    args.lse = contiguous_view(*lse, ElementType::f32, p.batch, p.heads, p.rows, 1);
    args.segments = p.segments;
    args.segments_per_batch = p.segments_per_batch;
    args.q_position = p.q_position;
    AttentionCall call;
    Status status = call.prepare(kernel, *device_, args);
    EXPECT_TRUE(status.ok()) << status.to_string();
    status = call.launch(*device_, kernel);
    EXPECT_TRUE(status.ok()) << status.to_string();
    std::vector<float> flat = read<float>(*o, p.q.size()),
                       rows = read<float>(*lse, lse->size() / 4);
    Expected got;
    got.o.resize(flat.size());
    for (int64_t i = 0; i < static_cast<int64_t>(flat.size()); ++i) {
      int64_t d = i % p.dim, t = i / p.dim % p.rows, h = i / p.dim / p.rows % p.heads;
      int64_t b = i / p.dim / p.rows / p.heads;
      got.o[i] = flat[tokens_first ? ((b * p.rows + t) * p.heads + h) * p.dim + d : i];
    }
    got.lse.assign(rows.begin(), rows.end());
    has_lse_ = false;
    for (const BindingInfo &binding : kernel.info().bindings)
      has_lse_ |= binding.role == BindingRole::lse;
    return got;
  }

  void expect_near(const Expected &got, const Expected &want, const char *what) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < want.o.size(); ++i) {
      ASSERT_FALSE(std::isnan(got.o[i])) << what << ": element " << i << " was not written";
      error += (got.o[i] - want.o[i]) * (got.o[i] - want.o[i]);
      norm += want.o[i] * want.o[i];
    }
    EXPECT_LE(std::sqrt(error), 1e-5 * std::sqrt(norm) + 1e-30) << what;
    for (size_t i = 0; has_lse_ && i < want.lse.size(); ++i) {
      if (std::isinf(want.lse[i]))
        ASSERT_EQ(got.lse[i], want.lse[i]) << what << ": row " << i;
      else
        ASSERT_NEAR(got.lse[i], want.lse[i], 1e-4) << what << ": row " << i;
    }
  }

  static bool causal(int64_t q, int64_t k) { return k <= q; }
  static bool dense(int64_t, int64_t) { return true; }
  std::mt19937 random_{17};
  bool has_lse_ = false;
};

TEST_F(DeviceKernel, ShapesAroundTheTileBorders) {
  for (const char *name : {"dense", "causal"}) {
    std::unique_ptr<Kernel> k = kernel(name);
    ASSERT_TRUE(k);
    uint32_t bq = k->info().block_q, bk = k->info().block_k;
    for (int64_t rows : {1u, bq - 1, bq, bq + 1})
      for (int64_t slots : {1u, bk, bk + 1, 2 * bk + 3}) {
        if (rows == 0)
          continue;
        Problem p = random_problem(*k, 1, 1, rows, slots);
        expect_near(run(*k, p),
                    expected_attention(p, name == std::string("causal") ? causal : dense),
                    concat(name, " ", rows, " x ", slots).c_str());
      }
  }
}

TEST_F(DeviceKernel, BatchesAndGroupedHeads) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  for (int64_t group : {1, 2, 3}) {
    Problem p = random_problem(*k, 3, group, 9, 9);
    expect_near(run(*k, p), expected_attention(p, causal), "grouped heads");
  }
}

TEST_F(DeviceKernel, TokensBeforeHeads) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 2, 2, 11, 13);
  expect_near(run(*k, p, true), expected_attention(p, causal), "tokens first");
}

TEST_F(DeviceKernel, RotatedRingOfSegments) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 1, 1, 6, 40);
  p.q_position = 50;
  // A sink, then a ring whose oldest part lies behind its newest; an empty one.
  p.segments = {{0, 5, 0}, {20, 17, 36}, {0, 0, 0}, {5, 3, 53}};
  expect_near(run(*k, p), expected_attention(p, causal), "ring");
}

TEST_F(DeviceKernel, SegmentsPerBatchEntry) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 2, 1, 5, 30);
  p.q_position = 20;
  p.segments = {{0, 10, 0}, {10, 7, 18}, {3, 1, 2}, {15, 15, 10}};
  p.segments_per_batch = 2;
  expect_near(run(*k, p), expected_attention(p, causal), "segments per batch");
}

TEST_F(DeviceKernel, RowsThatAttendNothing) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 1, 1, 6, 8);
  p.segments = {{0, 8, 3}}; // rows 0 to 2 come before every key
  Expected got = run(*k, p);
  expect_near(got, expected_attention(p, causal), "masked rows");
  EXPECT_EQ(got.o[0], 0);
  p.segments = {{0, 0, 0}};
  expect_near(run(*k, p), expected_attention(p, causal), "no keys");
}

TEST_F(DeviceKernel, ExcludedKeysDoNotLeak) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 1, 1, 8, 8), poisoned = p;
  // Keys and values of slots outside the segments.
  p.segments = poisoned.segments = {{0, 6, 0}};
  for (int64_t h = 0; h < p.kv_heads; ++h)
    for (int64_t i = 6 * p.dim; i < 8 * p.dim; ++i) {
      poisoned.k[h * 8 * p.dim + i] = NAN;
      poisoned.v[h * 8 * p.dim + i] = NAN;
    }
  expect_near(run(*k, poisoned), expected_attention(p, causal), "unwritten slots");
}

TEST_F(DeviceKernel, EqualCallsGiveEqualBits) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 2, 2, 33, 70);
  Expected first = run(*k, p);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(run(*k, p).o, first.o);
}

TEST_F(DeviceKernel, ThousandsOfLaunchesOverManyBuffers) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  Problem p = random_problem(*k, 1, 1, 2, 4);
  std::unique_ptr<Buffer> q = buffer_of(p.q), keys = buffer_of(p.k), values = buffer_of(p.v);
  std::vector<std::unique_ptr<Buffer>> outputs;
  for (int i = 0; i < 70; ++i)
    outputs.push_back(buffer(p.q.size() * 4));
  std::unique_ptr<Buffer> lse = buffer(p.heads * p.rows * 4);
  AttentionArgs args;
  args.q = contiguous_view(*q, ElementType::f32, 1, p.heads, 2, p.dim);
  args.k = contiguous_view(*keys, ElementType::f32, 1, p.kv_heads, 4, p.dim);
  args.v = contiguous_view(*values, ElementType::f32, 1, p.kv_heads, 4, p.dim);
  args.lse = contiguous_view(*lse, ElementType::f32, 1, p.heads, 2, 1);
  AttentionCall call;
  for (int i = 0; i < 1400; ++i) {
    args.o = contiguous_view(*outputs[i % 70], ElementType::f32, 1, p.heads, 2, p.dim);
    args.q_position = i / 70 % 4;
    ASSERT_TRUE(call.prepare(*k, *device_, args).ok());
    Status status = call.launch(*device_, *k);
    ASSERT_TRUE(status.ok()) << status.to_string();
  }
  p.q_position = 3; // of the last round over the outputs
  Expected want = expected_attention(p, causal);
  has_lse_ = false;
  for (auto &output : outputs) {
    std::vector<float> got = read<float>(*output, p.q.size());
    expect_near({{got.begin(), got.end()}, {}}, want, "many launches");
  }
}

TEST_F(DeviceKernel, LaunchesAreChecked) {
  std::unique_ptr<Kernel> k = kernel("causal");
  ASSERT_TRUE(k);
  std::unique_ptr<Buffer> memory = buffer(4096);
  size_t bindings = k->info().bindings.size();
  std::vector<uint32_t> words(ATTN_W_BINDINGS + 4 * bindings + 4);
  std::vector<BufferRange> ranges(bindings, {memory.get(), 0, 0});
  auto code = [&](std::span<const uint32_t> w, std::span<const BufferRange> r, Grid grid) {
    return device_->launch(*k, w, r, grid).code();
  };
  EXPECT_EQ(code(words, std::span(ranges).first(2), {}), StatusCode::usage);
  EXPECT_EQ(code(std::span(words).first(8), ranges, {}), StatusCode::usage);
  EXPECT_EQ(code(words, ranges, {0, 1, 1}), StatusCode::usage);
  EXPECT_EQ(code(words, ranges, {65536, 65536, 65536}), StatusCode::usage);
  ranges[1] = {nullptr, 0, 0};
  EXPECT_EQ(code(words, ranges, {}), StatusCode::usage);
  ranges[1] = {memory.get(), 4096, 0};
  EXPECT_EQ(code(words, ranges, {}), StatusCode::usage);
  ranges[1] = {memory.get(), 0, 5000};
  EXPECT_EQ(code(words, ranges, {}), StatusCode::usage);
}

TEST_F(DeviceKernel, RefusesKernelsOfOtherTargets) {
  KernelInfo info = bundle_->kernels()[0];
  for (TargetKind target : {TargetKind::cpu, TargetKind::ptx, TargetKind::spirv}) {
    info.target = target;
    info.features = 0;
    if (target != device_->info().target) {
      Result<std::unique_ptr<Kernel>> loaded = device_->load(info, {});
      ASSERT_FALSE(loaded.ok());
      EXPECT_NE(loaded.status().message().find(target_name(target)), std::string::npos);
    }
  }
  info.target = device_->info().target;
  EXPECT_FALSE(device_->load(info, {}).ok()) << "an empty image";
  info.features = 1u << 31;
  Result<std::unique_ptr<Kernel>> loaded = device_->load(info, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.status().code(), StatusCode::environment);
}
