// What is written is read back, equal content gives equal bytes, and files
// are replaced whole or not at all.
#include "bundle_samples.h"
#include "runtime/base/mapped_file.h"
#include "runtime/bundle/bundle_format.h"
#include "runtime/bundle/bundle_reader.h"
#include "runtime/bundle/checksum.h"

#include <filesystem>
#include <gtest/gtest.h>

using namespace attn;

// Values of the XXH64 specification's reference implementation.
TEST(Checksum, MatchesTheSpecification) {
  EXPECT_EQ(checksum64({}), 0xef46db3751d8e999u);
  EXPECT_EQ(checksum64(bytes_of("a")), 0xd24ec4f1a98c6e5bu);
  EXPECT_EQ(checksum64(bytes_of("abc")), 0x44bc2cf5ad770999u);
  EXPECT_EQ(checksum64(bytes_of("Nobody inspects the spammish repetition")), 0xfbcea83c8a378bf1u);
}

static std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char *>(bytes.data()), bytes.size()};
}

TEST(Bundle, RoundTrip) {
  Result<std::vector<std::byte>> file = sample_writer().finish();
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  Result<Bundle> bundle = Bundle::from_memory(*file, "memory");
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  ASSERT_EQ(bundle->kernels().size(), 3u);
  ASSERT_EQ(bundle->images().size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) {
    KernelInfo expected = sample_kernel(static_cast<TargetKind>(i));
    expected.image = i;
    EXPECT_EQ(bundle->kernels()[i], expected);
    EXPECT_EQ(bundle->images()[i].target, static_cast<TargetKind>(i));
    auto offset = bundle->images()[i].bytes.data() - file->data();
    EXPECT_EQ(offset % 64, 0);
  }
  EXPECT_EQ(text_of(bundle->images()[0].bytes), "image for the processor0");
  ASSERT_EQ(bundle->specs().size(), 1u);
  EXPECT_EQ(bundle->specs()[0].name, "causal.attn");
  EXPECT_EQ(bundle->specs()[0].source, "attention causal { mask causal }\n");
  ASSERT_NE(bundle->find_blob("model.plan"), nullptr);
  EXPECT_EQ(text_of(bundle->find_blob("model.plan")->bytes), "steps");
  EXPECT_EQ(bundle->find_blob("other"), nullptr);
}

TEST(Bundle, EqualContentGivesEqualBytes) {
  EXPECT_EQ(*sample_writer().finish(), *sample_writer().finish());
}

TEST(Bundle, EqualImagesAndSpecsAreStoredOnce) {
  BundleWriter writer;
  EXPECT_EQ(writer.add_image(TargetKind::cpu, bytes_of("x")), 0u);
  EXPECT_EQ(writer.add_image(TargetKind::ptx, bytes_of("x")), 1u);
  EXPECT_EQ(writer.add_image(TargetKind::cpu, bytes_of("x")), 0u);
  EXPECT_EQ(writer.add_spec("a", "1"), 0u);
  EXPECT_EQ(writer.add_spec("a", "2"), 1u);
  EXPECT_EQ(writer.add_spec("a", "1"), 0u);
}

TEST(Bundle, EmptyBundleIsOne) {
  Result<std::vector<std::byte>> file = BundleWriter().finish();
  ASSERT_TRUE(file.ok());
  Result<Bundle> bundle = Bundle::from_memory(*file, "memory");
  ASSERT_TRUE(bundle.ok()) << bundle.status().to_string();
  EXPECT_TRUE(bundle->kernels().empty());
}

TEST(Bundle, WritesAFileAndMapsIt) {
  std::string folder = testing::TempDir() + "attn_bundle_test";
  std::filesystem::create_directories(folder);
  std::string path = folder + "/x.attnb";
  ASSERT_TRUE(BundleWriter().write(path).ok());
  ASSERT_TRUE(sample_writer().write(path).ok()) << "replaces the file";
  Result<Bundle> opened = Bundle::open(path);
  ASSERT_TRUE(opened.ok()) << opened.status().to_string();
  Bundle bundle = std::move(*opened); // views survive a move
  EXPECT_EQ(text_of(bundle.images()[0].bytes), "image for the processor0");
  size_t files = 0;
  for ([[maybe_unused]] auto &entry : std::filesystem::directory_iterator(folder))
    ++files;
  EXPECT_EQ(files, 1u) << "a temporary file was left behind";
  std::filesystem::remove_all(folder);
}

TEST(Bundle, FailedWriteKeepsTheOldFile) {
  Status status = sample_writer().write("/nonexistent/folder/x.attnb");
  EXPECT_EQ(status.code(), StatusCode::environment);
  EXPECT_EQ(status.place(), "/nonexistent/folder/x.attnb");
  EXPECT_NE(sample_writer().write("/dev/full").message().find("No space left"), std::string::npos);
}

TEST(Bundle, MissingFileAndFolderAreEnvironmentFailures) {
  EXPECT_EQ(Bundle::open("/nonexistent.attnb").status().code(), StatusCode::environment);
  EXPECT_EQ(Bundle::open("/tmp").status().code(), StatusCode::environment);
}

TEST(Bundle, TensorMapsHaveBoxesThatExist) {
  auto refused = [](size_t binding, uint16_t rows, uint8_t bytes) {
    KernelInfo kernel = sample_kernel(TargetKind::ptx);
    kernel.bindings[binding].map_rows = rows;
    kernel.bindings[binding].map_bytes = bytes;
    return !check_kernel_info(kernel).ok();
  };
  EXPECT_FALSE(refused(0, 1, 32));
  EXPECT_FALSE(refused(1, 0, 0));
  EXPECT_TRUE(refused(1, 0, 128));
  EXPECT_TRUE(refused(1, 64, 0));
  EXPECT_TRUE(refused(1, 257, 128));
  EXPECT_TRUE(refused(1, 64, 48));
  EXPECT_TRUE(refused(3, 64, 128)) << "an output";
  EXPECT_TRUE(refused(5, 64, 128)) << "a table";
}

// The writer refuses each record that the reader would.
TEST(Bundle, WriterRefusesBadRecords) {
  using Break = void (*)(KernelInfo &);
  const std::pair<const char *, Break> cases[] = {
      {"name", [](KernelInfo &k) { k.name = ""; }},
      {"escape", [](KernelInfo &k) { k.name = "\x1b[2J"; }},
      {"long", [](KernelInfo &k) { k.symbol = std::string(300, 'a'); }},
      {"qk_dim", [](KernelInfo &k) { k.qk_dim = 0; }},
      {"v_dim", [](KernelInfo &k) { k.v_dim = 1 << 20; }},
      {"kv_heads", [](KernelInfo &k) { k.kv_heads = 5; }},
      {"block_q", [](KernelInfo &k) { k.block_q = 0; }},
      {"workgroup", [](KernelInfo &k) { k.workgroup[1] = 1024; }},
      {"arena", [](KernelInfo &k) { k.arena_bytes = UINT32_MAX; }},
      {"error", [](KernelInfo &k) { k.error_bound = std::numeric_limits<float>::quiet_NaN(); }},
      {"scale", [](KernelInfo &k) { k.scale = std::numeric_limits<float>::infinity(); }},
      {"no o", [](KernelInfo &k) { k.bindings.erase(k.bindings.begin() + 3); }},
      {"two q", [](KernelInfo &k) { k.bindings.push_back(k.bindings[0]); }},
      {"unwritten o", [](KernelInfo &k) { k.bindings[3].written = false; }},
      {"written k", [](KernelInfo &k) { k.bindings[1].written = true; }},
      {"rank", [](KernelInfo &k) { k.bindings[5].rank = 5; }},
      {"tensor map on a cpu",
       [](KernelInfo &k) { k.bindings[1].map_rows = 64, k.bindings[1].map_bytes = 64; }},
      {"param type", [](KernelInfo &k) { k.params[0].type = ElementType::i64; }},
      {"param range", [](KernelInfo &k) { k.params[0].minimum = 1e9; }},
      {"spec", [](KernelInfo &k) { k.spec = 9; }},
      {"image", [](KernelInfo &k) { k.image = 9; }},
      {"target", [](KernelInfo &k) { k.target = TargetKind::ptx; }},
  };
  for (auto [what, breaks] : cases) {
    BundleWriter writer;
    KernelInfo kernel = sample_kernel(TargetKind::cpu);
    kernel.spec = writer.add_spec("a", "b");
    kernel.image = writer.add_image(TargetKind::cpu, bytes_of("x"));
    breaks(kernel);
    writer.add_kernel(kernel);
    Result<std::vector<std::byte>> file = writer.finish();
    ASSERT_FALSE(file.ok()) << what;
    EXPECT_EQ(file.status().code(), StatusCode::invalid_input) << what;
  }
}
