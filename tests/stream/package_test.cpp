// A stream of a package is the stream of the files that it was made from.
#include "tests/stream/tiny_package.h"

#include "runtime/ops/isa.h"
#include "runtime/stream/streamer.h"
#include <gtest/gtest.h>
#include <unistd.h>

using namespace attn;
using namespace attn::stream;
namespace fs = std::filesystem;

namespace {

class PackagedStream : public testing::Test {
protected:
  fs::path dir = fs::temp_directory_path() / ("attn_package_" + std::to_string(getpid()));
  StreamerOptions options;
  void SetUp() override {
    fs::create_directories(dir);
    options.allow_reference = true;
    options.seed = 5;
  }
  void TearDown() override { fs::remove_all(dir); }

  Status try_open(const fs::path &path) {
    options.model_path = path.string();
    return Streamer::create(options).status();
  }
  std::unique_ptr<Streamer> open(const fs::path &path) {
    options.model_path = path.string();
    auto s = Streamer::create(options);
    EXPECT_TRUE(s.ok()) << s.status().to_string();
    return s.ok() ? std::move(*s) : nullptr;
  }
  // Twelve blocks with two prompt switches, one of them while the ring evicts.
  static std::vector<float> frames(Streamer &s) {
    EXPECT_TRUE(s.push_prompt("east", {}, s.blocks() + 3).ok());
    EXPECT_TRUE(s.push_prompt("west", Recache::window, s.blocks() + 8).ok());
    std::vector<float> all;
    for (int i = 0; i < 12; ++i) {
      auto block = s.next_block();
      EXPECT_TRUE(block.ok()) << block.status().to_string();
      all.insert(all.end(), block->begin(), block->end());
    }
    return all;
  }
};

} // namespace

TEST_F(PackagedStream, HasTheFramesOfItsFilesBitByBit) {
  for (bool spelled : {false, true}) {
    test::TinyStream model;
    model.frames = spelled ? 1 : 2;
    model.sink = 2, model.window = 4;
    model.spelled = spelled;
    if (spelled) // its attention has no name to bind
      model.nodes.clear();
    test::write_tiny_stream(dir / "files", model);
    const std::vector<float> expected = frames(*open(dir / "files/step.onnx"));
    for (uint32_t columns : {0u, 8u, 16u, 32u}) {
      const fs::path alone = dir / "tiny.attnp";
      Status status = test::write_tiny_package(alone, model, columns);
      ASSERT_TRUE(status.ok()) << status.to_string();
      auto s = open(alone);
      ASSERT_TRUE(s);
      EXPECT_TRUE(s->model().is_package());
      EXPECT_EQ(frames(*s), expected) << columns;
    }
  }
}

TEST_F(PackagedStream, RestoresItsSnapshots) {
  ASSERT_TRUE(test::write_tiny_package(dir / "t.attnp", {}, 16).ok());
  auto first = open(dir / "t.attnp"), second = open(dir / "t.attnp");
  for (int i = 0; i < 6; ++i)
    ASSERT_TRUE(first->next_block().ok());
  Status status = second->restore(first->snapshot());
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(frames(*first), frames(*second));
}

TEST_F(PackagedStream, IsGivenAlone) {
  ASSERT_TRUE(test::write_tiny_package(dir / "t.attnp", {}, 16).ok());
  options.bundle_path = (dir / "t.attnp").string();
  Status status = try_open(dir / "t.attnp");
  EXPECT_EQ(status.code(), StatusCode::usage);
  EXPECT_NE(status.to_string().find("t.attnp: a package has its own kernels; give it alone"),
            std::string::npos)
      << status.to_string();
  options.bundle_path.clear();
  options.description_path = "stream.toml";
  EXPECT_NE(try_open(dir / "t.attnp").message().find("a package has its own description"),
            std::string::npos);
}

TEST_F(PackagedStream, LacksOfAPackageAreNamedWithTheirRemedy) {
  ASSERT_TRUE(BundleWriter().write((dir / "kernels.attnb").string()).ok());
  Status status = try_open(dir / "kernels.attnb");
  EXPECT_NE(status.to_string().find("holds kernels alone, no model"), std::string::npos);
  EXPECT_NE(status.to_string().find("`attnc model MODEL.onnx --package`"), std::string::npos);

  BundleWriter encoder;
  encoder.add_graph(kPackedModel, {});
  ASSERT_TRUE(encoder.write((dir / "encoder.attnp").string()).ok());
  EXPECT_NE(try_open(dir / "encoder.attnp").message().find("run it with `attn-run model`"),
            std::string::npos);

  options.allow_reference = false;
  ASSERT_TRUE(test::write_tiny_package(dir / "t.attnp", {}, 16).ok());
  status = try_open(dir / "t.attnp");
  EXPECT_NE(status.message().find("`attnc model MODEL.onnx --package --spec specs/tiny_self.attn "
                                  "--target cpu -o " +
                                  (dir / "t.attnp").string() + "`"),
            std::string::npos)
      << status.to_string();

  // Places within the description are those of its text.
  test::TinyStream wrong;
  wrong.kind = "maybe";
  ASSERT_TRUE(test::write_tiny_package(dir / "t.attnp", wrong, 16).ok());
  status = try_open(dir / "t.attnp");
  EXPECT_NE(status.place().find("t.attnp/stream.toml:"), std::string::npos) << status.to_string();
}
