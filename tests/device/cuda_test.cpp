// What only the cuda device does, on the stand-in driver or a real one: which
// images it takes, and how the driver's complaints come through.
#include "runtime/device/device.h"
#include "test_bundle.h"

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
