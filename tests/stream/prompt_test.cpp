// Mixed prompts: how they are written, that they are mixed where words are embedded, and that
// streams of them replay to the same bits.
#include "runtime/graph/mix_prompt.h"
#include "runtime/graph/session.h"
#include "runtime/stream/prompt.h"
#include "runtime/stream/streamer.h"
#include "tests/stream/tiny_model.h"
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <limits>
#include <unistd.h>

using namespace attn;
using namespace attn::stream;
namespace fs = std::filesystem;

static Tokenizer words(int64_t count) {
  auto tokenizer = Tokenizer::from_text("north\nsouth\neast\nwest\n", count, "words");
  EXPECT_TRUE(tokenizer.ok());
  return std::move(*tokenizer);
}

TEST(Prompt, PartsAndWeightsAreRead) {
  auto read = [](const std::string &text) {
    auto parts = parse_prompt(text);
    EXPECT_TRUE(parts.ok()) << parts.status().to_string();
    std::string all;
    for (const WeightedPrompt &part : *parts)
      all += concat("[", part.text, "]", part.weight);
    return all;
  };
  EXPECT_EQ(read("red circle left"), "[red circle left]1");
  EXPECT_EQ(read(" a red square : 0.7|a blue disc:.3 "), "[a red square]0.7[a blue disc]0.3");
  EXPECT_EQ(read("a:+2 | b | c:1e1"), "[a]2[b]1[c]10");
  EXPECT_EQ(read("a: the b:2"), "[a: the b]2");
  EXPECT_EQ(read("note: no weight"), "[note: no weight]1");
  EXPECT_EQ(read("a:-1"), "[a]-1") << "refused when it is encoded";
  EXPECT_EQ(read(""), "[]1");
  for (const char *text : {"a:1x", "a:0.5.5 | b", "a:1e999", "a | ", "| a", "a || b", ":2 | a"})
    EXPECT_FALSE(parse_prompt(text).ok()) << text;
  EXPECT_NE(parse_prompt("a:1x").status().message().find("weight '1x'"), std::string::npos);
  EXPECT_NE(parse_prompt("a || b").status().message().find("part 2"), std::string::npos);
}

TEST(Prompt, WeightsAreRelativeAndZeroLeavesAPartOut) {
  const Tokenizer t = words(2);
  auto encoded = encode_prompt(*parse_prompt("north east:3 | south west:0 | west west"), t);
  ASSERT_TRUE(encoded.ok()) << encoded.status().to_string();
  EXPECT_EQ(encoded->parts(), 2u);
  EXPECT_EQ(encoded->weights, (std::vector<float>{0.75f, 0.25f, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(std::vector<int64_t>(encoded->ids.begin(), encoded->ids.begin() + 6),
            (std::vector<int64_t>{0, 2, 3, 3, 0, 0}));
  EXPECT_TRUE(is_valid(*encoded, t));
  EXPECT_EQ(prompt_text(decode_prompt(*encoded, t)), "north east:0.75 | west west:0.25");
  EXPECT_EQ(*encode_prompt(*parse_prompt(prompt_text(decode_prompt(*encoded, t))), t), *encoded);
  EXPECT_EQ(prompt_text(decode_prompt(*encode_prompt(*parse_prompt("north east:9"), t), t)),
            "north east");
  encoded->weights[0] = 0.5f;
  EXPECT_FALSE(is_valid(*encoded, t)) << "the sum is not 1";
}

TEST(Prompt, WeightsThatMeanNothingAreRefused) {
  const Tokenizer t = words(1);
  auto refusal = [&](std::vector<WeightedPrompt> parts) {
    return encode_prompt(parts, t).status().message();
  };
  for (double weight : {-1.0, 1001.0, double(NAN), std::numeric_limits<double>::infinity()})
    EXPECT_NE(refusal({{"north", weight}}).find("give a number from 0 to 1000"), std::string::npos)
        << weight;
  EXPECT_NE(refusal({{"north", 0}, {"east", 0}}).find("all 2 parts of the prompt have weight 0"),
            std::string::npos);
  EXPECT_NE(refusal({{"north", 1}, {"up", 0}}).find("'up'"), std::string::npos)
      << "words of parts that are left out are looked up, too";
  EXPECT_NE(refusal(std::vector<WeightedPrompt>(9, {"north", 1})).find("9 parts; 1 to 8"),
            std::string::npos);
  EXPECT_FALSE(refusal({}).empty());
}

namespace {

class MixedStream : public testing::Test {
protected:
  fs::path dir = fs::temp_directory_path() / ("attn_mixed_" + std::to_string(getpid()));
  StreamerOptions options;
  void SetUp() override {
    options.allow_reference = true;
    options.seed = 17;
    options.model_path = (dir / "step.onnx").string();
    test::write_tiny_stream(dir);
  }
  void TearDown() override { fs::remove_all(dir); }
  std::unique_ptr<Streamer> open() {
    auto s = Streamer::create(options);
    EXPECT_TRUE(s.ok()) << s.status().to_string();
    return s.ok() ? std::move(*s) : nullptr;
  }
  static std::vector<float> frames(Streamer &s, int blocks) {
    std::vector<float> all;
    for (int i = 0; i < blocks; ++i) {
      auto block = s.next_block();
      EXPECT_TRUE(block.ok()) << block.status().to_string();
      all.insert(all.end(), block->begin(), block->end());
    }
    return all;
  }
  std::vector<float> frames(const std::string &prompt, int blocks = 5) {
    auto s = open();
    Status status = s->push_prompt(prompt);
    EXPECT_TRUE(status.ok()) << status.to_string();
    return frames(*s, blocks);
  }
};

} // namespace

// The model's own words are a table of embeddings; a word whose row is the mixture must give
// the frames of the mixed prompt.
TEST_F(MixedStream, IsMixedInTheTableOfEmbeddings) {
  const std::vector<float> mixed = frames("north:3 | west:1");
  EXPECT_NE(mixed, frames("north"));
  EXPECT_NE(mixed, frames("west"));
  std::vector<float> table = test::wave(4 * 16, 0.3f, 1), blend = table;
  for (size_t k = 0; k < 16; ++k) {
    const float a = 0.75f * table[k], b = 0.25f * table[3 * 16 + k];
    blend[2 * 16 + k] = a + b; // "east"
  }
  std::string onnx = test::tiny_onnx({});
  const std::string_view from(reinterpret_cast<const char *>(table.data()), table.size() * 4);
  const size_t at = onnx.find(from);
  ASSERT_NE(at, std::string::npos);
  std::memcpy(onnx.data() + at, blend.data(), from.size());
  std::ofstream(dir / "step.onnx", std::ios::binary) << onnx;
  EXPECT_EQ(frames("east"), mixed);
}

TEST_F(MixedStream, OnePartIsThePromptItself) {
  EXPECT_EQ(frames("east:0.3"), frames("east"));
  EXPECT_EQ(frames("east:2 | north:0"), frames("east"));
}

TEST_F(MixedStream, SwitchesRecacheAndReplayToTheSameBits) {
  auto run = [&](uint32_t threads) {
    options.threads = threads;
    auto s = open();
    EXPECT_TRUE(s->push_prompt("north | south:2").ok());
    EXPECT_TRUE(s->push_prompt("north | south:1", {}, 4).ok());
    EXPECT_TRUE(s->push_prompt("north:2 | south:2", {}, 6).ok());
    std::vector<float> all = frames(*s, 4);
    EXPECT_FALSE(s->times().switched);
    for (bool switched : {true, false, false, false}) { // block 6: the same weights
      std::vector<float> block = frames(*s, 1);
      EXPECT_EQ(s->times().switched, switched) << s->blocks();
      all.insert(all.end(), block.begin(), block.end());
    }
    EXPECT_EQ(s->prompt(), "north:0.5 | south:0.5");
    return all;
  };
  const std::vector<float> first = run(1);
  EXPECT_EQ(run(1), first);
  EXPECT_EQ(run(3), first);
}

TEST_F(MixedStream, SnapshotsHoldTheWeights) {
  auto first = open(), second = open();
  ASSERT_TRUE(first->push_prompt("north:0.9 | west:0.1").ok());
  ASSERT_TRUE(first->push_prompt("east:0.2 | west:0.8", Recache::window, 7).ok());
  frames(*first, 4);
  const std::vector<std::byte> state = first->snapshot();
  Status status = second->restore(state);
  ASSERT_TRUE(status.ok()) << status.to_string();
  EXPECT_EQ(second->prompt(), "north:0.9 | west:0.1");
  EXPECT_EQ(frames(*second, 6), frames(*first, 6));
  EXPECT_EQ(second->prompt(), "east:0.2 | west:0.8");
}

TEST_F(MixedStream, PassesRecordThePartsThatTheySaw) {
  auto s = open();
  s->record_passes(true);
  ASSERT_TRUE(s->push_prompt("east | west:3").ok());
  frames(*s, 1);
  EXPECT_EQ(s->passes().at(0).prompt, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(s->passes().at(0).prompt_weights, (std::vector<float>{0.25f, 0.75f}));
}

// Mixing what is not embedded would mean nothing.
TEST(MixPrompt, OnlyWhereThePromptIsEmbeddedAndNothingElse) {
  using graph::DType;
  auto graph_of = [](const char *op, DType table) {
    graph::Graph g;
    const int ids = g.add_value("ids", {DType::i64, {1, 3}}), t = g.add_value("t", {table, {4, 8}});
    g.values[static_cast<size_t>(ids)].is_input = g.values[static_cast<size_t>(t)].is_input = true;
    g.inputs = {ids, t};
    graph::Node node;
    node.op = op;
    node.inputs = {t, ids};
    node.outputs = {g.add_value("y", {DType::f32, {1, 3, 8}})};
    g.nodes.push_back(node);
    return g;
  };
  graph::Graph g = graph_of("Gather", DType::f32);
  EXPECT_TRUE(graph::mix_prompt(g, "ids", "w", 8));
  EXPECT_EQ(g.nodes[0].op, "MixedGather");
  EXPECT_EQ(g.values[0].type.shape, (graph::Shape{8, 3}));
  EXPECT_FALSE(graph::mix_prompt(g, "ids", "w", 8)) << "once";
  g = graph_of("Gather", DType::f16);
  EXPECT_FALSE(graph::mix_prompt(g, "ids", "w", 8));
  g = graph_of("Gather", DType::f32);
  g.nodes[0].set("axis", 1);
  EXPECT_FALSE(graph::mix_prompt(g, "ids", "w", 8));
  g = graph_of("Equal", DType::f32);
  EXPECT_FALSE(graph::mix_prompt(g, "ids", "w", 8));
  EXPECT_FALSE(graph::mix_prompt(g, "none", "w", 8));
  EXPECT_EQ(g.values[0].type.shape, (graph::Shape{1, 3})) << "left as it was";
}
