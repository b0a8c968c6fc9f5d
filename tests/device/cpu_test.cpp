// What only the CPU device does: features, images from memory, thread counts.
#include "runtime/call/attention_call.h"
#include "runtime/call/select_kernel.h"
#include "runtime/device/cpu_features.h"
#include "runtime/device/elf_image.h"
#include "test_bundle.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace attn;

TEST(CpuFeatures, OnlyWhatIsPresentCanBeKept) {
  uint32_t present = kFeatureAvx2 | kFeatureAvx512;
  EXPECT_EQ(*restrict_cpu_features(present, "avx2"), kFeatureAvx2);
  EXPECT_EQ(*restrict_cpu_features(present, "avx512,avx2,avx512-vnni"), present);
  EXPECT_EQ(*restrict_cpu_features(present, "none"), 0u);
  Result<uint32_t> bad = restrict_cpu_features(present, "avx2,sse9");
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.status().code(), StatusCode::usage);
  EXPECT_NE(bad.status().message().find("'sse9'"), std::string::npos);
}

TEST(CpuFeatures, ArePassedOverWhereTheyAreNoGain) {
  EXPECT_EQ(unrewarding_cpu_features("GenuineIntel"), uint32_t(kFeatureAvx512Bf16));
  EXPECT_EQ(unrewarding_cpu_features("AuthenticAMD"), 0u);
  uint32_t all = detect_cpu_features(), passed_over = unrewarding_cpu_features(cpu_vendor());
  EXPECT_EQ((*open_device("cpu"))->info().features, all & ~passed_over);
  // Named, they are used.
  EXPECT_EQ((*open_device("cpu", {.cpu_features = "avx512-bf16"}))->info().features,
            all & kFeatureAvx512Bf16);
}

TEST(CpuFeatures, EnvironmentAndOptionRestrictTheDevice) {
  setenv("ATTN_CPU_FEATURES", "none", 1);
  EXPECT_EQ((*open_device("cpu"))->info().features, 0u);
  unsetenv("ATTN_CPU_FEATURES");
  EXPECT_EQ((*open_device("cpu", {.cpu_features = "none"}))->info().features, 0u);
  EXPECT_FALSE(open_device("cpu", {.cpu_features = "x87"}).ok());
}

TEST(OpenDevice, NeverFallsBack) {
  for (const char *id : {"", "gpu", "cpu:0", "vulkan:x", "vulkan:", "cuda:-1", "cpuu"}) {
    Result<std::unique_ptr<Device>> device = open_device(id);
    ASSERT_FALSE(device.ok()) << id;
    EXPECT_EQ(device.status().code(), StatusCode::usage) << id;
  }
  Result<std::unique_ptr<Device>> far = open_device("vulkan:999");
  ASSERT_FALSE(far.ok());
  EXPECT_EQ(far.status().code(), StatusCode::environment);
}

TEST(ListDevices, NamesEveryKindOrTheReasonAgainstIt) {
  bool cpu = false, vulkan = false, cuda = false;
  for (const DeviceListing &entry : list_devices()) {
    cpu |= entry.id == "cpu" && entry.status.ok();
    vulkan |= entry.id.rfind("vulkan", 0) == 0;
    cuda |= entry.id.rfind("cuda", 0) == 0;
    if (!entry.status.ok())
      EXPECT_FALSE(entry.status.message().empty()) << entry.id;
  }
  EXPECT_TRUE(cpu && vulkan && cuda);
}

static std::vector<std::byte> image() {
  Result<MappedFile> file = MappedFile::open(ATTN_REFERENCE_KERNEL);
  EXPECT_TRUE(file.ok()) << file.status().to_string();
  return {file->bytes().begin(), file->bytes().end()};
}

TEST(ElfImage, LoadsSeveralFromMemory) {
  Result<std::shared_ptr<ElfImage>> a = ElfImage::load(image()), b = ElfImage::load(image());
  ASSERT_TRUE(a.ok() && b.ok()) << a.status().to_string();
  EXPECT_NE((*a)->find("reference_causal"), nullptr);
  EXPECT_EQ((*a)->find("missing"), nullptr);
  EXPECT_NE((*a)->find("reference_causal"), (*b)->find("reference_causal"))
      << "two images share one mapping: the loader took the second for the first";
}

TEST(ElfImage, RefusesWhatTheLoaderWouldDieOf) {
  std::vector<std::byte> bytes = image();
  EXPECT_EQ(ElfImage::load({}).status().code(), StatusCode::invalid_input);
  std::vector<std::byte> text(200, std::byte('x'));
  EXPECT_EQ(ElfImage::load(text).status().code(), StatusCode::invalid_input);
  std::vector<std::byte> half(bytes.begin(), bytes.begin() + bytes.size() / 8);
  EXPECT_EQ(ElfImage::load(half).status().code(), StatusCode::invalid_input);
  std::vector<std::byte> foreign = bytes;
  foreign[18] = std::byte(0xf3); // RISC-V
  Result<std::shared_ptr<ElfImage>> other = ElfImage::load(foreign);
  EXPECT_EQ(other.status().code(), StatusCode::environment);
  EXPECT_NE(other.status().message().find("machine 243"), std::string::npos);
}

TEST(SelectKernel, PriorityVariantAndReasons) {
  Result<BundleWriter> writer = reference_bundle(ATTN_REFERENCE_KERNEL);
  ASSERT_TRUE(writer.ok()) << writer.status().to_string();
  KernelInfo fast = reference_kernel_info("dense", "reference_dense");
  fast.variant = "fast";
  fast.priority = 9;
  fast.features = 1u << 31; // nobody has it
  writer->add_kernel(fast);
  KernelInfo gpu = reference_kernel_info("gpu_only", "x");
  gpu.target = TargetKind::ptx;
  gpu.image = writer->add_image(TargetKind::ptx, std::as_bytes(std::span("ptx")));
  writer->add_kernel(gpu);
  std::vector<std::byte> file = *writer->finish();
  Result<Bundle> bundle = Bundle::from_memory(file, "t.attnb");
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  std::unique_ptr<Device> device = *open_device("cpu");

  Result<KernelChoice> choice = select_kernel(*bundle, *device, {.name = "dense"});
  ASSERT_TRUE(choice.ok()) << choice.status().to_string();
  EXPECT_EQ(bundle->kernels()[choice->index].variant, "f32");
  ASSERT_EQ(choice->refused.size(), 1u);
  EXPECT_NE(choice->refused[0].find("fast cpu: it needs"), std::string::npos) << choice->refused[0];

  choice = select_kernel(*bundle, *device, {.name = "causal", .variant = "wrong"});
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(bundle->kernels()[choice->index].symbol, "reference_off_by_one");

  auto failure = [&](KernelQuery query) {
    Result<KernelChoice> none = select_kernel(*bundle, *device, query);
    return none.ok() ? Status() : none.status();
  };
  EXPECT_EQ(failure({.name = "dense", .variant = "fast"}).code(), StatusCode::environment);
  EXPECT_EQ(failure({.name = "dense", .qk_dim = 64}).code(), StatusCode::environment);
  EXPECT_EQ(failure({.name = "causal", .qk_dim = 64}).code(), StatusCode::invalid_input);
  EXPECT_EQ(failure({.name = "causal", .types = {{BindingRole::q, ElementType::bf16}}}).code(),
            StatusCode::invalid_input);
  EXPECT_NE(failure({.name = "gpu_only"}).message().find("--target=cpu"), std::string::npos);
  EXPECT_NE(failure({.name = "nope"}).message().find("dense, causal, window"), std::string::npos);
  EXPECT_EQ(failure({}).code(), StatusCode::usage) << "several kernels, none named";
}

// The same bits at every thread count.
TEST(CpuDevice, ThreadCountDoesNotChangeBits) {
  Result<BundleWriter> writer = reference_bundle(ATTN_REFERENCE_KERNEL);
  ASSERT_TRUE(writer.ok());
  std::vector<std::byte> file = *writer->finish();
  Bundle bundle = *Bundle::from_memory(file, "t.attnb");
  std::vector<float> values(3 * 40 * 16), first;
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i * 7919 % 1000) / 500 - 1;
  for (uint32_t threads : {1u, 2u, 3u, 8u}) {
    std::unique_ptr<Device> device = *open_device("cpu", {.threads = threads});
    EXPECT_EQ(device->info().units, threads);
    std::unique_ptr<Kernel> kernel = *load_kernel(bundle, *device, {.name = "causal"});
    ASSERT_NE(kernel->ranges(), nullptr);
    std::vector<float> o(values.size()), lse(3 * 40);
    std::unique_ptr<Buffer> in = *device->wrap(values.data(), values.size() * 4);
    std::unique_ptr<Buffer> out = *device->wrap(o.data(), o.size() * 4);
    std::unique_ptr<Buffer> rows = *device->wrap(lse.data(), lse.size() * 4);
    AttentionArgs args;
    args.q = args.k = args.v = contiguous_view(*in, ElementType::f32, 1, 3, 40, 16);
    args.o = contiguous_view(*out, ElementType::f32, 1, 3, 40, 16);
    args.lse = contiguous_view(*rows, ElementType::f32, 1, 3, 40, 1);
    AttentionCall call;
    ASSERT_TRUE(call.prepare(*kernel, *device, args).ok());
    ASSERT_TRUE(call.launch(*device, *kernel).ok());
    if (first.empty())
      first = o;
    EXPECT_EQ(o, first) << threads;
  }
}
