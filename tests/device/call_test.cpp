// AttentionCall: what it refuses, with which words, and the words it writes.
#include "runtime/bundle/bundle_reader.h"
#include "runtime/call/attention_call.h"
#include "runtime/call/select_kernel.h"
#include "test_bundle.h"

#include <bit>
#include <functional>
#include <gtest/gtest.h>

using namespace attn;

class Call : public testing::Test {
protected:
  void SetUp() override {
    Result<BundleWriter> writer = reference_bundle(ATTN_REFERENCE_KERNEL);
    ASSERT_TRUE(writer.ok()) << writer.status().to_string();
    file_ = *writer->finish();
    bundle_.emplace(*Bundle::from_memory(file_, "t.attnb"));
    device_ = *open_device("cpu", {.threads = 1});
    kernel_ = *load_kernel(*bundle_, *device_, {.name = "window"});
    for (auto *memory : {&q_, &k_, &v_, &o_, &lse_})
      *memory = *device_->allocate(1 << 16);
    args_.q = contiguous_view(*q_, ElementType::f32, 2, 4, 5, 16);
    args_.k = contiguous_view(*k_, ElementType::f32, 2, 2, 7, 16);
    args_.v = contiguous_view(*v_, ElementType::f32, 2, 2, 7, 16);
    args_.o = contiguous_view(*o_, ElementType::f32, 2, 4, 5, 16);
    args_.lse = contiguous_view(*lse_, ElementType::f32, 2, 4, 5, 1);
    args_.params = params_;
  }
  Status prepare() { return call_.prepare(*kernel_, *device_, args_); }

  std::vector<std::byte> file_;
  std::optional<Bundle> bundle_;
  std::unique_ptr<Device> device_;
  std::unique_ptr<Kernel> kernel_;
  std::unique_ptr<Buffer> q_, k_, v_, o_, lse_;
  std::vector<NamedValue> params_ = {{"size", 3}};
  AttentionArgs args_;
  AttentionCall call_;
};

TEST_F(Call, WritesTheWordsOfTheAbi) {
  std::vector<Segment> segments = {{2, 3, 10}, {0, 2, 13}};
  args_.segments = segments;
  args_.q_position = 9;
  args_.layer = 4;
  args_.q.offset = 64;
  args_.q.strides[2] = 20;
  Status status = prepare();
  ASSERT_TRUE(status.ok()) << status.to_string();
  auto w = call_.words();
  EXPECT_EQ(w[ATTN_W_Q_LEN], 5u);
  EXPECT_EQ(w[ATTN_W_BATCH], 2u);
  EXPECT_EQ(w[ATTN_W_HEADS], 4u);
  EXPECT_EQ(w[ATTN_W_KV_HEADS], 2u);
  EXPECT_EQ(w[ATTN_W_Q_POSITION], 9u);
  EXPECT_EQ(w[ATTN_W_LAYER], 4u);
  EXPECT_EQ(w[ATTN_W_SEGMENTS], 2u);
  EXPECT_EQ(w[ATTN_W_SEGMENT_STRIDE], 0u);
  EXPECT_EQ(w[ATTN_W_KV_LEN], 5u);
  EXPECT_EQ(std::bit_cast<float>(w[ATTN_W_SCALE]), 0.25f);
  EXPECT_EQ(w[w[ATTN_W_PARAMS]], 3u);
  uint32_t base = w[ATTN_W_SEGMENT_BASE];
  EXPECT_EQ(std::vector<uint32_t>(w.begin() + base, w.end()),
            (std::vector<uint32_t>{2, 3, 10, 0, 0, 2, 13, 0}));
  // q starts 16 elements into its range; the CPU takes any range.
  EXPECT_EQ(call_.buffers()[0].offset + 4 * w[ATTN_W_BINDINGS + 3], 64u);
  EXPECT_EQ(w[ATTN_W_BINDINGS + 2], 20u);
  EXPECT_EQ(call_.grid().q_tiles, 2u);
  EXPECT_EQ(call_.grid().heads, 4u);
  EXPECT_EQ(call_.grid().batch, 2u);
}

TEST_F(Call, RefusesWhatAKernelWouldTrust) {
  std::vector<Segment> bad_slot = {{5, 3, 0}}, negative = {{-1, 2, 0}}, wrap = {{0, 2, INT32_MAX}};
  std::vector<NamedValue> low = {{"size", 0}}, fraction = {{"size", 2.5}}, nan = {{"size", NAN}},
                          unknown = {{"size", 3}, {"w", 1}};
  std::vector<NamedTensor> table = {{"t", args_.q}};
  const struct {
    const char *says;
    std::function<void()> change;
  } cases[] = {
      {"q has head dim 8", [&] { args_.q.shape[3] = 8; }},
      {"no multiple of", [&] { args_.q.shape[1] = args_.o.shape[1] = 3; }},
      {"v has heads 1", [&] { args_.v.shape[1] = 1; }},
      {"v has tokens 6", [&] { args_.v.shape[2] = 6; }},
      {"k has batch 1", [&] { args_.k.shape[0] = 1; }},
      {"o has tokens 4", [&] { args_.o.shape[2] = 4; }},
      {"lse has tokens 4", [&] { args_.lse.shape[2] = 4; }},
      {"its buffer has", [&] { args_.k.offset = 65000; }},
      {"its buffer has", [&] { args_.k.strides[0] = 1 << 20; }},
      {"not aligned", [&] { args_.k.offset = 2; }},
      {"must be 1", [&] { args_.k.strides[3] = 2; }},
      {"negative", [&] { args_.k.strides[2] = -16; }},
      {"spans more than", [&] { args_.k.strides[2] = int64_t(1) << 40; }},
      {"spans more than", [&] { args_.k.strides[2] = INT64_MAX; }},
      {"overlap", [&] { args_.o.strides[1] = 0; }},
      {"overlap", [&] { args_.o.strides[2] = 8; }},
      {"k is bf16", [&] { args_.k.type = ElementType::bf16; }},
      {"no v", [&] { args_.v.buffer = nullptr; }},
      {"needs lse", [&] { args_.lse.buffer = nullptr; }},
      {"slots 5 + 3", [&] { args_.segments = bad_slot; }},
      {"slots -1", [&] { args_.segments = negative; }},
      {"leave the range", [&] { args_.segments = wrap; }},
      {"segments; 3",
       [&] {
         args_.segments = wrap;
         args_.segments_per_batch = 3;
       }},
      {"q position -1", [&] { args_.q_position = -1; }},
      {"q position", [&] { args_.q_position = INT32_MAX; }},
      {"leaves the range",
       [&] { args_.q_position = int32_t(ATTN_POSITION_LIMIT - args_.q.shape[2] + 1); }},
      {"scale is", [&] { args_.scale = INFINITY; }},
      {"has no value", [&] { args_.params = {}; }},
      {"1 to 1000 is allowed", [&] { args_.params = low; }},
      {"integer", [&] { args_.params = fraction; }},
      {"is allowed", [&] { args_.params = nan; }},
      {"no parameter w", [&] { args_.params = unknown; }},
      {"no table or input t", [&] { args_.tensors = table; }},
  };
  AttentionArgs good = args_;
  for (const auto &c : cases) {
    args_ = good;
    c.change();
    Status status = prepare();
    ASSERT_FALSE(status.ok()) << c.says;
    EXPECT_NE(status.message().find(c.says), std::string::npos)
        << "expected '" << c.says << "', got '" << status.message() << "'";
  }
  args_ = good;
  args_.q_position = int32_t(ATTN_POSITION_LIMIT - args_.q.shape[2]); // the last row's is the last
  EXPECT_TRUE(prepare().ok());
  args_ = good;
  EXPECT_TRUE(prepare().ok());
}

TEST_F(Call, EmptyCallsAreNoWork) {
  args_.q.shape[2] = args_.o.shape[2] = args_.lse.shape[2] = 0;
  Status status = prepare();
  ASSERT_TRUE(status.ok()) << status.to_string();
  uint64_t before = device_->stats().launches;
  EXPECT_TRUE(call_.launch(*device_, *kernel_).ok());
  EXPECT_EQ(device_->stats().launches, before);
}

TEST_F(Call, PreparingAgainReusesItsMemory) {
  ASSERT_TRUE(prepare().ok());
  const uint32_t *words = call_.words().data();
  for (int i = 0; i < 10; ++i) {
    args_.q_position = i;
    ASSERT_TRUE(prepare().ok());
    EXPECT_EQ(call_.words().data(), words);
  }
}
