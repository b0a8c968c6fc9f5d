// The Vulkan device's launch path, with a kernel of a few instructions: words
// and bindings arrive, split dispatches cover every item once, validation is
// silent. Skipped, with the reason, where there is no Vulkan device.
#include "runtime/base/mapped_file.h"
#include "runtime/device/device.h"
#include "runtime/device/vulkan_instance.h"

#include <algorithm>
#include <cstring>
#include <gtest/gtest.h>

using namespace attn;

class Vulkan : public testing::Test {
protected:
  void SetUp() override {
    Result<std::unique_ptr<Device>> device = open_device("vulkan", {.validation = true});
    if (!device.ok())
      GTEST_SKIP() << device.status().to_string();
    device_ = std::move(*device);
    Result<MappedFile> image = MappedFile::open(ATTN_COPY_KERNEL);
    if (!image.ok())
      GTEST_SKIP() << image.status().to_string() << " (spirv-as was absent at build time)";
    image_ = std::move(*image);
    info_.name = info_.variant = "copy";
    info_.symbol = "copy_items";
    info_.target = TargetKind::spirv;
    info_.qk_dim = info_.v_dim = info_.block_q = info_.block_k = 1;
    info_.bindings = {{"q", BindingRole::q, ElementType::i32, 4, false},
                      {"k", BindingRole::k, ElementType::i32, 4, false},
                      {"v", BindingRole::v, ElementType::i32, 4, false},
                      {"o", BindingRole::o, ElementType::i32, 4, true}};
  }
  std::unique_ptr<Kernel> load() {
    Result<std::unique_ptr<Kernel>> kernel = device_->load(info_, image_.bytes());
    EXPECT_TRUE(kernel.ok()) << kernel.status().to_string();
    return std::move(*kernel);
  }
  std::unique_ptr<Device> device_;
  MappedFile image_;
  KernelInfo info_;
};

TEST_F(Vulkan, EveryItemOfASplitLaunchRunsOnce) {
  std::unique_ptr<Kernel> kernel = load();
  Grid grid = {7, 5, 3};
  std::unique_ptr<Buffer> q = *device_->allocate(64), o = *device_->allocate(4 * grid.items());
  uint32_t seven = 7;
  ASSERT_TRUE(device_->upload(*q, 0, &seven, 4).ok());
  std::vector<uint32_t> words(ATTN_W_BINDINGS + 16);
  words[ATTN_W_Q_LEN] = grid.q_tiles;
  words[ATTN_W_HEADS] = grid.heads;
  BufferRange ranges[] = {{q.get()}, {q.get()}, {q.get()}, {o.get()}};
  uint32_t sum = 0;
  // From everything in one dispatch to one item per submit.
  for (double work : {0.0, 1e3, 1e10, 3e10, 1e12, 1e15}) {
    words[ATTN_W_SCALE] = static_cast<uint32_t>(sum + 1);
    uint64_t submits = device_->stats().submits;
    Status status = device_->launch(*kernel, words, ranges, grid, work);
    ASSERT_TRUE(status.ok()) << status.to_string();
    words[ATTN_W_SCALE] = 0xdead; // may be reused at once
    sum += static_cast<uint32_t>(sum + 1) + 7;
    ASSERT_TRUE(device_->synchronise().ok());
    if (work == 1e15)
      EXPECT_EQ(device_->stats().submits - submits, grid.items());
  }
  std::vector<uint32_t> got(grid.items());
  Status status = device_->download(*o, 0, got.data(), got.size() * 4);
  ASSERT_TRUE(status.ok()) << status.to_string();
  for (size_t i = 0; i < got.size(); ++i)
    ASSERT_EQ(got[i], sum) << i;
}

TEST_F(Vulkan, WordsRingAndDescriptorPoolWrapAround) {
  std::unique_ptr<Kernel> kernel = load();
  std::unique_ptr<Buffer> q = *device_->allocate(64);
  std::vector<std::unique_ptr<Buffer>> outputs;
  for (int i = 0; i < 150; ++i) // more than a pool holds
    outputs.push_back(*device_->allocate(16));
  std::vector<uint32_t> words(4000); // a slot holds sixteen of these
  words[ATTN_W_Q_LEN] = words[ATTN_W_HEADS] = 1;
  for (int round = 0; round < 3; ++round)
    for (size_t i = 0; i < outputs.size(); ++i) {
      words[ATTN_W_SCALE] = static_cast<uint32_t>(i);
      BufferRange ranges[] = {{q.get()}, {q.get()}, {q.get()}, {outputs[i].get()}};
      Status status = device_->launch(*kernel, words, ranges, {});
      ASSERT_TRUE(status.ok()) << status.to_string();
    }
  for (size_t i = 0; i < outputs.size(); ++i) {
    uint32_t got = 0;
    ASSERT_TRUE(device_->download(*outputs[i], 0, &got, 4).ok());
    ASSERT_EQ(got, 3 * i);
  }
}

// A buffer freed and another made may get the old handle from the driver.
TEST_F(Vulkan, FreedBuffersLeaveNoStaleDescriptors) {
  std::unique_ptr<Kernel> kernel = load();
  std::unique_ptr<Buffer> q = *device_->allocate(64);
  std::vector<uint32_t> words(ATTN_W_BINDINGS + 16);
  words[ATTN_W_Q_LEN] = words[ATTN_W_HEADS] = words[ATTN_W_SCALE] = 1;
  for (int i = 0; i < 200; ++i) {
    std::unique_ptr<Buffer> o = *device_->allocate(16 + 16 * (i % 3));
    BufferRange ranges[] = {{q.get()}, {q.get()}, {q.get()}, {o.get()}};
    ASSERT_TRUE(device_->launch(*kernel, words, ranges, {}).ok());
    uint32_t got = 0;
    Status status = device_->download(*o, 0, &got, 4);
    ASSERT_TRUE(status.ok()) << status.to_string();
    ASSERT_EQ(got, 1u) << i;
  }
}

TEST_F(Vulkan, RefusesImagesThatAreNoSpirv) {
  for (size_t size : {size_t(0), size_t(3), size_t(16), size_t(23)})
    EXPECT_EQ(device_->load(info_, image_.bytes().first(size)).status().code(),
              StatusCode::invalid_input);
  std::vector<std::byte> text(400, std::byte('x'));
  EXPECT_NE(device_->load(info_, text).status().message().find("no SPIR-V"), std::string::npos);
}

TEST_F(Vulkan, RefusesAMissingEntryPoint) {
  info_.symbol = "no_such_entry";
  EXPECT_EQ(device_->load(info_, image_.bytes()).status().code(), StatusCode::invalid_input);
}

TEST_F(Vulkan, RefusesStridesThatWideReadsCannotTake) {
  info_.qk_dim = 64, info_.v_dim = 6;
  std::unique_ptr<Kernel> kernel = load();
  std::unique_ptr<Buffer> buffer = *device_->allocate(64);
  BufferRange range = {buffer.get()}, ranges[] = {range, range, range, range};
  auto launch = [&](int binding, int word, uint32_t value) {
    std::vector<uint32_t> words(ATTN_W_BINDINGS + 16);
    words[ATTN_W_BINDINGS + 4 * binding + word] = value;
    return device_->launch(*kernel, words, ranges, {});
  };
  Status status = launch(1, 2, 66); // k is read four elements at once
  EXPECT_EQ(status.code(), StatusCode::usage);
  EXPECT_NE(status.message().find("k of kernel copy has stride 66; head dim 64 allows multiples "
                                  "of 4"),
            std::string::npos)
      << status.to_string();
  EXPECT_NE(launch(2, 3, 5).message().find("offset 5"), std::string::npos);
  status = launch(2, 2, 6); // v two at once
  EXPECT_TRUE(status.ok()) << status.to_string();
}

TEST_F(Vulkan, RefusesRangesBeyondTheDevice) {
  uint64_t most = device_->info().max_buffer_bytes;
  if (most > 256 << 20)
    GTEST_SKIP() << "this device binds " << most << " bytes";
  std::unique_ptr<Kernel> kernel = load();
  std::unique_ptr<Buffer> small = *device_->allocate(64), large = *device_->allocate(most + 16);
  BufferRange ranges[] = {{small.get()}, {large.get()}, {small.get()}, {small.get()}};
  std::vector<uint32_t> words(ATTN_W_BINDINGS + 16);
  Status status = device_->launch(*kernel, words, ranges, {});
  EXPECT_EQ(status.code(), StatusCode::environment);
  EXPECT_NE(status.message().find(concat("binding k spans ", most + 16)), std::string::npos)
      << status.to_string();
}

TEST(VulkanFeatures, AreRestrictedByName) {
  uint32_t present = kFeatureVkFloat16 | kFeatureVkSubgroup;
  EXPECT_EQ(*restrict_vulkan_features(present, "none"), 0u);
  EXPECT_EQ(*restrict_vulkan_features(present, "vulkan-float16,vulkan-int8"),
            uint32_t(kFeatureVkFloat16));
  EXPECT_EQ(*restrict_vulkan_features(present, "vulkan-subgroup8"), uint32_t(kFeatureVkSubgroup));
  Result<uint32_t> bad = restrict_vulkan_features(present, "avx2");
  EXPECT_EQ(bad.status().code(), StatusCode::usage);
  EXPECT_NE(bad.status().message().find("'avx2'"), std::string::npos);
}

// A module whose workgroup is larger than the device allows.
TEST_F(Vulkan, ValidationMessagesMakeCallsFail) {
  std::vector<uint32_t> code(image_.bytes().size() / 4);
  std::memcpy(code.data(), image_.bytes().data(), 4 * code.size());
  constexpr uint32_t execution_mode = 6 << 16 | 16; // OpExecutionMode, LocalSize x y z
  auto mode = std::find(code.begin(), code.end(), execution_mode);
  ASSERT_NE(mode, code.end());
  mode[3] = mode[4] = 512;
  EXPECT_FALSE(device_->load(info_, std::as_bytes(std::span(code))).ok());
  EXPECT_NE(device_->synchronise().message().find("validation"), std::string::npos);
}
