// Caches that live on a device, on the stand-in driver: the same bits as on the
// CPU, and only what changed is moved.
#include "runtime/stream/streamer.h"
#include "tests/stream/tiny_model.h"
#include <gtest/gtest.h>
#include <unistd.h>

using namespace attn;
using namespace attn::stream;

class DeviceCache : public testing::Test {
protected:
  std::filesystem::path dir =
      std::filesystem::temp_directory_path() / ("attn_device_cache_" + std::to_string(getpid()));
  void TearDown() override { std::filesystem::remove_all(dir); }
  std::unique_ptr<Streamer> open(const char *device, const char *bundle) {
    test::TinyStream model;
    model.spec = "dense";
    test::write_tiny_stream(dir, model);
    StreamerOptions options;
    options.model_path = (dir / "step.onnx").string();
    options.bundle_path = bundle;
    options.device = device;
    options.seed = 3;
    auto s = Streamer::create(options);
    EXPECT_TRUE(s.ok()) << s.status().to_string();
    return s.ok() ? std::move(*s) : nullptr;
  }
};

TEST_F(DeviceCache, GivesTheSameBitsAndMovesOnlyWhatChanged) {
  auto here = open("cpu", ATTN_REFERENCE_BUNDLE), there = open("cuda", ATTN_STAND_IN_BUNDLE);
  ASSERT_TRUE(here && there);
  // The kernels: 2 denoising passes a block; the clean pass has no attention here.
  const uint64_t token = 16 * sizeof(float), block = 4 * token, slots = 4;
  for (uint64_t i = 0; i < 12; ++i) {
    if (i == 9)
      for (Streamer *s : {here.get(), there.get()})
        ASSERT_TRUE(s->push_prompt("south").ok());
    const DeviceStats before = there->device().stats();
    auto a = here->next_block(), b = there->next_block();
    ASSERT_TRUE(a.ok() && b.ok());
    ASSERT_EQ(std::vector<float>(a->begin(), a->end()), std::vector<float>(b->begin(), b->end()));
    const DeviceStats &after = there->device().stats();
    EXPECT_EQ(after.bytes_downloaded - before.bytes_downloaded, 2 * block) << "O alone, " << i;
    // Q and the block's own keys and values in both passes. The first also brings
    // the clean keys and values of the block before, which the clean pass wrote, and,
    // while the ring turns, keys whose places moved up.
    uint64_t most = 2 * 3 * block + (i ? 2 * block : 0);
    if (i >= slots)
      most += (slots - 2) * block;
    if (i == 0)
      most += 2 * slots * block; // all of both mirrors once
    if (i == 9)
      most += 2 * slots * block; // recached
    EXPECT_LE(after.bytes_uploaded - before.bytes_uploaded, most) << i;
    if (i == 2) {
      EXPECT_EQ(after.bytes_uploaded - before.bytes_uploaded, most);
      EXPECT_EQ(after.allocations, before.allocations);
    }
  }
}
