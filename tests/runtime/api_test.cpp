// The C interface: from plain C, through the C++ header, and from two threads.
#include <attn/runtime.hpp>

#include <cmath>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

extern "C" int api_from_c(const char *bundle_path);

TEST(Api, FromPlainC) { EXPECT_EQ(api_from_c(ATTN_REFERENCE_BUNDLE), 0) << "line of api_c_test.c"; }

TEST(Api, CppHeaderReleasesWhatItHolds) {
  attn::c::Kernel kernel;
  {
    attn::c::Device device;
    attn::c::Bundle bundle;
    attn::c::Status status = device.open("cpu");
    ASSERT_TRUE(status.ok()) << status.text();
    ASSERT_TRUE(bundle.open(ATTN_REFERENCE_BUNDLE));
    ASSERT_TRUE(kernel.load(bundle, device, "dense"));
    status = kernel.load(bundle, device, "missing");
    EXPECT_EQ(status.code(), ATTN_USAGE);
    EXPECT_FALSE(kernel) << "a failed load leaves no handle";
    ASSERT_TRUE(kernel.load(bundle, device, "dense"));
    status = attn::c::Status(attn_device_open("cuda:77", nullptr, device.out()));
    EXPECT_EQ(status.code(), ATTN_ENVIRONMENT);
    EXPECT_EQ(status.place(), "cuda:77");
  }
  std::vector<float> q(16, 0), kv(4 * 16, 1), o(16), lse(1);
  attn_tensor_t tq = attn::c::host_tensor(ATTN_F32, q.data(), 1, 1, 1, 16);
  attn_tensor_t tk = attn::c::host_tensor(ATTN_F32, kv.data(), 1, 1, 4, 16);
  attn_tensor_t to = attn::c::host_tensor(ATTN_F32, o.data(), 1, 1, 1, 16);
  attn_tensor_t tl = attn::c::host_tensor(ATTN_F32, lse.data(), 1, 1, 1, 1);
  attn_attention_args_t args = ATTN_INIT(attn_attention_args_t);
  args.q = &tq;
  args.k = args.v = &tk;
  args.o = &to;
  args.lse = &tl;
  attn::c::Status status = kernel.run(args);
  ASSERT_TRUE(status.ok()) << status.text();
  EXPECT_EQ(o[15], 1.0f);
  EXPECT_NEAR(lse[0], std::log(4.0), 1e-6);
}

// Eight heads on a device that `options` describe.
static std::vector<float> eight_heads(const attn_device_options_t &options) {
  attn::c::Device device;
  attn::c::Bundle bundle;
  attn::c::Kernel kernel;
  EXPECT_TRUE(device.open("cpu", &options));
  EXPECT_TRUE(bundle.open(ATTN_REFERENCE_BUNDLE));
  EXPECT_TRUE(kernel.load(bundle, device, "dense"));
  std::vector<float> q(8 * 64 * 16), o(q.size(), -1), lse(8 * 64, -1);
  for (size_t i = 0; i < q.size(); ++i)
    q[i] = std::sin(static_cast<float>(i));
  attn_tensor_t tq = attn::c::host_tensor(ATTN_F32, q.data(), 1, 8, 64, 16);
  attn_tensor_t to = attn::c::host_tensor(ATTN_F32, o.data(), 1, 8, 64, 16);
  attn_tensor_t tl = attn::c::host_tensor(ATTN_F32, lse.data(), 1, 8, 64, 1);
  attn_attention_args_t args = ATTN_INIT(attn_attention_args_t);
  args.q = args.k = args.v = &tq;
  args.o = &to;
  args.lse = &tl;
  attn::c::Status status = kernel.run(args);
  EXPECT_TRUE(status.ok()) << status.text();
  return o;
}

TEST(Api, AProgramLendsItsThreads) {
  int loops = 0;
  attn_executor_t executor = ATTN_INIT(attn_executor_t);
  executor.threads = 2;
  executor.user = &loops;
  executor.run = [](void *user, uint32_t tasks, void (*task)(void *, uint32_t), void *context) {
    ++*static_cast<int *>(user);
    for (uint32_t i = tasks; i-- > 0;)
      task(context, i);
  };
  attn_device_options_t own = ATTN_INIT(attn_device_options_t), lent = own;
  lent.executor = &executor;
  EXPECT_EQ(eight_heads(lent), eight_heads(own));
  EXPECT_GT(loops, 0);

  attn::c::Device device;
  lent.threads = 2; // of its own, too
  EXPECT_EQ(device.open("cpu", &lent).code(), ATTN_USAGE);
  lent.threads = 0;
  executor.threads = 0;
  EXPECT_EQ(device.open("cpu", &lent).code(), ATTN_USAGE);
  executor.threads = 2;
  executor.run = nullptr;
  EXPECT_EQ(device.open("cpu", &lent).code(), ATTN_USAGE);
}

TEST(Api, CallsOfOneDeviceTakeTurns) {
  attn::c::Device device;
  attn::c::Bundle bundle;
  ASSERT_TRUE(device.open("cpu"));
  ASSERT_TRUE(bundle.open(ATTN_REFERENCE_BUNDLE));
  auto work = [&](float value) {
    attn::c::Kernel kernel;
    EXPECT_TRUE(kernel.load(bundle, device, "dense"));
    std::vector<float> q(8 * 16, 0), kv(4 * 16, value), o(8 * 16), lse(8);
    attn_tensor_t tq = attn::c::host_tensor(ATTN_F32, q.data(), 1, 1, 8, 16);
    attn_tensor_t tk = attn::c::host_tensor(ATTN_F32, kv.data(), 1, 1, 4, 16);
    attn_tensor_t to = attn::c::host_tensor(ATTN_F32, o.data(), 1, 1, 8, 16);
    attn_tensor_t tl = attn::c::host_tensor(ATTN_F32, lse.data(), 1, 1, 8, 1);
    attn_attention_args_t args = ATTN_INIT(attn_attention_args_t);
    args.q = &tq;
    args.k = args.v = &tk;
    args.o = &to;
    args.lse = &tl;
    for (int i = 0; i < 200; ++i) {
      attn::c::Status status = kernel.run(args);
      ASSERT_TRUE(status.ok()) << status.text();
      ASSERT_EQ(o[100], value);
    }
  };
  std::thread other(work, 2.0f);
  work(3.0f);
  other.join();
}
