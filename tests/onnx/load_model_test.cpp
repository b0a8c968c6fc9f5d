// Loading ONNX files: what is read, and what is refused with which words.
#include "runtime/onnx/load_model.h"
#include "tests/onnx/onnx_builder.h"
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace attn;
using namespace attn::test;

static Result<onnx::Model> parse(const std::string &text, const std::string &directory = "") {
  return onnx::parse_model({reinterpret_cast<const uint8_t *>(text.data()), text.size()},
                           directory);
}

static void expect_refused(const std::string &text, const std::string &words) {
  auto model = parse(text);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), StatusCode::invalid_input);
  EXPECT_NE(model.status().to_string().find(words), std::string::npos)
      << model.status().to_string();
}

static OnnxBuilder small() {
  OnnxBuilder b;
  b.input("x", kF32, {2, -1}).constant<float>("w", {2, 1}, {1, 2});
  b.node("Add", {"x", "w"}, {"y"}, {attr("axis", 3), attr("list", Dims{1, -2})}, "add0");
  b.output("y", kF32, {2, -1});
  return b;
}

TEST(LoadModel, ReadsNodesTensorsAndShapes) {
  std::string text = small().model();
  auto model = parse(text);
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  ASSERT_EQ(model->nodes.size(), 1u);
  EXPECT_EQ(model->nodes[0].op, "Add");
  EXPECT_EQ(model->nodes[0].find("axis")->integer, 3);
  EXPECT_EQ(model->nodes[0].find("list")->integers, (Dims{1, -2}));
  ASSERT_EQ(model->initializers.size(), 1u);
  EXPECT_EQ(model->initializers[0].elements(), 2);
  EXPECT_EQ(model->inputs[0].dims, (Dims{2, -1}));
  EXPECT_EQ(model->inputs[0].symbols[1], "n");
  EXPECT_EQ(model->opsets.at(""), 24);
  // The weights are where the file is.
  auto *data = reinterpret_cast<const char *>(model->initializers[0].data.data());
  EXPECT_GE(data, text.data());
  EXPECT_LT(data, text.data() + text.size());
  EXPECT_EQ(model->mapped_bytes, 8u);
  EXPECT_EQ(model->copied_bytes, 0u);
}

TEST(LoadModel, ReadsNumbersListedOneByOne) {
  WireWriter t;
  t.integer(1, 3).integer(2, 1).bytes(8, "w").number(4, 1).number(4, 2).number(4, 3);
  auto model = parse(OnnxBuilder().initializer(t.out).output("w").model());
  ASSERT_TRUE(model.ok()) << model.status().to_string();
  float v[3];
  std::memcpy(v, model->initializers[0].data.data(), 12);
  EXPECT_EQ(v[2], 3);
  EXPECT_EQ(model->copied_bytes, 12u);
}

TEST(LoadModel, RefusesOpsetsOutsideTheRange) {
  expect_refused(small().model(16), "opset 16; this runtime reads 17 to");
  expect_refused(small().model(99), "opset 99");
}

TEST(LoadModel, RefusesWhatIsNoModel) {
  expect_refused("", "no graph");
  expect_refused("this is a text file, not a model", "truncated or is no ONNX model");
}

TEST(LoadModel, RefusesEveryTruncation) {
  std::string text = small().model();
  for (size_t n = 0; n + 6 < text.size(); ++n)
    EXPECT_FALSE(parse(text.substr(0, n)).ok()) << n;
}

TEST(LoadModel, SurvivesFlippedBytes) {
  std::string text = small().model();
  for (size_t i = 0; i < text.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      std::string broken = text;
      broken[i] = static_cast<char>(broken[i] ^ (1 << bit));
      (void)parse(broken); // must return; sanitizers watch the reads
    }
}

TEST(LoadModel, RefusesTensorsWhoseDataDoesNotFit) {
  expect_refused(OnnxBuilder().constant<float>("w", {3}, {1, 2}).output("w").model(),
                 "tensor 'w' has 8 bytes of data; its dimensions need 12");
  expect_refused(OnnxBuilder().constant<float>("w", {-1}, {1}).model(), "a dimension of -1");
  expect_refused(OnnxBuilder().constant<float>("w", {1ll << 40, 1ll << 40}, {1}).model(),
                 "larger than 64 TiB");
}

TEST(LoadModel, RefusesUnknownAndRepeatedNames) {
  expect_refused(OnnxBuilder().node("Neg", {"nothing"}, {"y"}, {}, "n").model(),
                 "node 'n' (Neg): reads 'nothing'");
  expect_refused(OnnxBuilder().input("x", kF32, {1}).node("Neg", {"x"}, {"x"}).output("x").model(),
                 "makes 'x', which already exists");
  expect_refused(OnnxBuilder().output("y").model(), "graph output 'y' is made by no node");
}

class ExternalData : public testing::Test {
protected:
  std::filesystem::path dir =
      std::filesystem::temp_directory_path() / ("attn_onnx_" + std::to_string(getpid()));
  void SetUp() override {
    std::filesystem::create_directories(dir);
    float v[4] = {0, 1, 2, 3};
    std::ofstream(dir / "w.bin", std::ios::binary).write(reinterpret_cast<char *>(v), sizeof v);
  }
  void TearDown() override { std::filesystem::remove_all(dir); }
  std::string model(const std::string &location, const std::string &offset) {
    WireWriter t;
    t.integer(1, 2).integer(2, 1).bytes(8, "w").integer(14, 1);
    t.bytes(13, WireWriter().bytes(1, "location").bytes(2, location).out);
    t.bytes(13, WireWriter().bytes(1, "offset").bytes(2, offset).out);
    return OnnxBuilder().initializer(t.out).output("w").model();
  }
};

TEST_F(ExternalData, IsMappedFromBesideTheModel) {
  std::string text = model("w.bin", "8");
  std::ofstream(dir / "m.onnx", std::ios::binary).write(text.data(), text.size());
  auto loaded = onnx::load_model((dir / "m.onnx").string());
  ASSERT_TRUE(loaded.ok()) << loaded.status().to_string();
  float v[2];
  std::memcpy(v, loaded->initializers[0].data.data(), 8);
  EXPECT_EQ(v[0], 2);
  EXPECT_EQ(v[1], 3);
}

TEST_F(ExternalData, StaysInsideItsFolderAndFile) {
  for (const char *where : {"/etc/passwd", "../w.bin", "a/../../w.bin", ""}) {
    auto loaded = parse(model(where, "0"), dir.string());
    ASSERT_FALSE(loaded.ok()) << where;
    EXPECT_NE(loaded.status().message().find("beside the model"), std::string::npos);
  }
  EXPECT_FALSE(parse(model("w.bin", "12"), dir.string()).ok());
  EXPECT_FALSE(parse(model("w.bin", "18446744073709551610"), dir.string()).ok());
  EXPECT_FALSE(parse(model("w.bin", "-1"), dir.string()).ok());
  EXPECT_FALSE(parse(model("missing.bin", "0"), dir.string()).ok());
}

TEST(LoadModel, NamesAMissingFile) {
  auto model = onnx::load_model("/nonexistent/model.onnx");
  ASSERT_FALSE(model.ok());
  EXPECT_NE(model.status().to_string().find("/nonexistent/model.onnx"), std::string::npos);
}
