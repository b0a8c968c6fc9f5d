// What the conformance tests share: the device under test and, if there are
// kernels for it, a bundle.
//   ATTN_TEST_DEVICE  device id (default cpu)
//   ATTN_TEST_BUNDLE  bundle with kernels "dense" and "causal", variant f32
// A device or bundle that is absent skips the tests that need it, visibly,
// unless ATTN_TEST_REQUIRE=1 says that they have to be there.
#pragma once

#include "runtime/bundle/bundle_reader.h"
#include "runtime/device/device.h"
#include <cstdlib>
#include <gtest/gtest.h>

namespace attn {

class ConformanceTest : public testing::Test {
protected:
  static void SetUpTestSuite() {
    const char *id = std::getenv("ATTN_TEST_DEVICE");
    Result<std::unique_ptr<Device>> opened = open_device(id ? id : "cpu");
    reason_ = opened.status();
    if (opened.ok())
      device_ = std::move(*opened).release();
    if (const char *path = std::getenv("ATTN_TEST_BUNDLE"); path && *path) {
      Result<Bundle> bundle = Bundle::open(path);
      ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
      bundle_ = new Bundle(std::move(*bundle));
    }
  }
  static void TearDownTestSuite() {
    if (device_)
      EXPECT_TRUE(device_->synchronise().ok()) << device_->synchronise().to_string();
    delete bundle_;
    delete device_;
    bundle_ = nullptr;
    device_ = nullptr;
  }
  void SetUp() override {
    const char *required = std::getenv("ATTN_TEST_REQUIRE");
    if (!device_ && required && *required == '1')
      FAIL() << reason_.to_string();
    if (!device_)
      GTEST_SKIP() << reason_.to_string();
  }

  // Shorthands that fail the test instead of returning a status.
  static std::unique_ptr<Buffer> buffer(size_t bytes) {
    Result<std::unique_ptr<Buffer>> made = device_->allocate(bytes);
    EXPECT_TRUE(made.ok()) << made.status().to_string();
    return std::move(*made);
  }
  template <typename T> static std::unique_ptr<Buffer> buffer_of(const std::vector<T> &values) {
    std::unique_ptr<Buffer> made = buffer(std::max<size_t>(values.size() * sizeof(T), 1));
    Status status = device_->upload(*made, 0, values.data(), values.size() * sizeof(T));
    EXPECT_TRUE(status.ok()) << status.to_string();
    return made;
  }
  template <typename T> static std::vector<T> read(const Buffer &from, size_t count) {
    std::vector<T> values(count);
    Status status = device_->download(from, 0, values.data(), count * sizeof(T));
    EXPECT_TRUE(status.ok()) << status.to_string();
    return values;
  }

  static inline Device *device_ = nullptr;
  static inline Bundle *bundle_ = nullptr;
  static inline Status reason_;
};

} // namespace attn
