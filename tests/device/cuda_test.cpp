// What only the cuda device does, on the stand-in driver or a real one: which
// images it takes, and how the driver's complaints come through.
#include "runtime/device/device.h"
#include "test_bundle.h"

#include "runtime/bundle/kernel_abi.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

using namespace attn;

class Cuda : public testing::Test {
protected:
  void SetUp() override {
    Result<std::unique_ptr<Device>> device = open_device("cuda");
    if (!device.ok())
      GTEST_SKIP() << device.status().to_string();
    device_ = std::move(*device);
    info_ = reference_kernel_info("causal", "reference_causal");
    info_.target = TargetKind::ptx;
    info_.compute_capability = 80;
  }
  Status load(std::string image) {
    Result<std::unique_ptr<Kernel>> kernel = device_->load(info_, std::as_bytes(std::span(image)));
    return kernel.ok() ? Status() : kernel.status();
  }
  std::unique_ptr<Device> device_;
  KernelInfo info_;
};

TEST_F(Cuda, DriverLogIsPartOfTheMessage) {
  Status status = load("this is no PTX");
  EXPECT_EQ(status.code(), StatusCode::environment);
  EXPECT_NE(status.message().find("compile PTX"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("line 1"), std::string::npos) << status.message();
  EXPECT_NE(status.place().find("causal"), std::string::npos);
}

TEST_F(Cuda, ArchitecturesAreMatched) {
  uint32_t have = device_->info().compute_capability;
  const std::string ptx = ".version 8.0\n", cubin = "\x7f"
                                                    "ELF cubin";
  auto accepts = [&](uint32_t capability, const char *arch, const std::string &image) {
    info_.compute_capability = capability;
    info_.arch = arch;
    return device_->accepts(info_, std::as_bytes(std::span(image))).ok();
  };
  EXPECT_TRUE(accepts(80, "sm_80", ptx)) << "PTX runs on later machines";
  EXPECT_TRUE(accepts(have, "sm_x", ptx));
  EXPECT_FALSE(accepts(have + 1, "sm_x", ptx));
  EXPECT_TRUE(accepts(have, "sm_xa", ptx));
  EXPECT_FALSE(accepts(80, "sm_80a", ptx)) << "variants with an a run on their own alone";
  EXPECT_TRUE(accepts(have, "sm_x", cubin));
  EXPECT_FALSE(accepts(have - 10, "sm_x", cubin)) << "cubins of an earlier generation";
  info_.shared_bytes = 1 << 20;
  EXPECT_FALSE(accepts(80, "sm_80", ptx)) << "too much shared memory";
}

// Bulk copies: a map per binding that asks for one, made again only when its tensor
// changes. Counts come from the stand-in driver; a real one has none.
TEST_F(Cuda, TensorMapsGoWithTheLaunch) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
  ASSERT_TRUE(driver);
  auto *made = static_cast<unsigned *>(dlsym(driver, "fake_tensor_maps"));
  auto *expected = static_cast<unsigned *>(dlsym(driver, "fake_expected_maps"));
  if (!made)
    GTEST_SKIP() << "this is not the stand-in driver";
  for (int i : {0, 1, 2}) {
    info_.bindings[i].map_rows = 8;
    info_.bindings[i].map_bytes = 64;
  }
  const std::string ptx = ".version 8.0\n";
  auto kernel = device_->load(info_, std::as_bytes(std::span(ptx)));
  ASSERT_TRUE(kernel.ok()) << kernel.status().to_string();
  constexpr uint32_t tokens = 4, dim = 16, heads = 2;
  std::vector<std::unique_ptr<Buffer>> owned;
  std::vector<BufferRange> ranges;
  std::vector<uint32_t> words(ATTN_W_BINDINGS + 5 * ATTN_BINDING_WORDS + ATTN_SEG_WORDS);
  words[ATTN_W_Q_LEN] = words[ATTN_W_KV_LEN] = tokens;
  words[ATTN_W_BATCH] = words[ATTN_W_SEGMENTS] = 1;
  words[ATTN_W_HEADS] = words[ATTN_W_KV_HEADS] = heads;
  words[ATTN_W_SEGMENT_BASE] = words.size() - ATTN_SEG_WORDS;
  words[words.size() - ATTN_SEG_WORDS + ATTN_SEG_LENGTH] = tokens;
  for (int i = 0; i < 5; ++i) {
    uint32_t row = i == 4 ? 1 : dim;
    auto buffer = device_->allocate(heads * tokens * row * 4);
    ASSERT_TRUE(buffer.ok());
    owned.push_back(std::move(*buffer));
    ranges.push_back({owned.back().get(), 0, owned.back()->size()});
    uint32_t *own = &words[ATTN_W_BINDINGS + ATTN_BINDING_WORDS * i];
    own[1] = tokens * row;
    own[2] = row;
  }
  auto launch = [&] { return device_->launch(**kernel, words, ranges, {1, heads, 1}, 1); };
  *expected = 3;
  unsigned before = *made;
  Status status = launch();
  EXPECT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(*made - before, 3u);
  EXPECT_TRUE(launch().ok());
  EXPECT_EQ(*made - before, 3u) << "the same tensors";
  words[ATTN_W_BINDINGS + 1] = 2 * dim; // heads overlap: another map of q
  EXPECT_TRUE(launch().ok());
  EXPECT_EQ(*made - before, 4u);
  words[ATTN_W_BINDINGS + 1] = 2 * dim + 1;
  status = launch();
  EXPECT_EQ(status.code(), StatusCode::usage);
  EXPECT_NE(status.message().find("aligned to 16 bytes"), std::string::npos) << status.message();
  words[ATTN_W_BINDINGS + 1] = tokens * dim;
  words[ATTN_W_BATCH] = 2;
  words[ATTN_W_BINDINGS] = heads * tokens * dim;
  status = launch();
  EXPECT_NE(status.message().find("leaves its buffer"), std::string::npos) << status.message();
  *expected = 0;
  EXPECT_TRUE(device_->synchronise().ok());
  dlclose(driver);
}
