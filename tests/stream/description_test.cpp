// Stream descriptions and prompts: what is read, and which words refuse the rest.
#include "runtime/stream/description.h"
#include "runtime/stream/tokenizer.h"
#include "tests/stream/tiny_model.h"
#include <gtest/gtest.h>

using namespace attn;
using namespace attn::stream;

static std::string toml(const std::string &from = "", const std::string &to = "") {
  std::string text = test::tiny_toml({});
  if (!from.empty()) {
    size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
  }
  return text;
}

TEST(Description, ReadsEveryRole) {
  auto d = parse_description(toml(), "dir/stream.toml");
  ASSERT_TRUE(d.ok()) << d.status().to_string();
  EXPECT_EQ(d->name, "tiny");
  EXPECT_EQ(d->k_out, (std::vector<std::string>{"k0.out"}));
  EXPECT_EQ(d->timesteps, (std::vector<float>{1.0f, 0.5f}));
  EXPECT_EQ(d->vocabulary_path, "dir/vocab.txt");
  EXPECT_EQ(d->attention.at(0).spec, "tiny_self");
  EXPECT_EQ(d->frame_elements(), 12);
  EXPECT_EQ(d->scale, 8);
}

TEST(Description, RefusalsNameTheKeyTheLineAndTheRange) {
  struct Case {
    const char *from, *to, *words;
  };
  const Case cases[] = {
      {"sample = \"sample\"\n", "", "inputs.sample is missing"},
      {"q_positions = \"qp\"\n", "", "inputs.q_positions is missing, and inputs.q_frames too"},
      {"k_positions = \"kp\"\n", "", "cache.positions is 'contiguous', which needs inputs.k_p"},
      {"sample_shape = [3, ", "sample_shape = [16, ", "more are shown by decoder.kind 'linear'"},
      {"kind = \"pixels\"", "kind = \"linear\"", "decoder.to_rgb is missing"},
      {"kind = \"pixels\"", "kind = \"linear\"\nto_rgb = [1.0, 0.0]",
       "decoder.to_rgb must be a list of 9 finite numbers"},
      {"kind = \"pixels\"", "kind = \"pixels\"\nto_rgb = [1.0]", "is for kind 'linear'"},
      {"kind = \"x0\"", "kind = \"eps\"",
       "prediction.kind is 'eps'; it must be one of 'x0', 'flow'"},
      {"frames_per_block = 1", "frames_per_block = 0",
       "model.frames_per_block must be an integer from 1"},
      {"frames_per_block = 1", "frames_per_block = 2", "cache.sink_frames must be a multiple"},
      {"window_frames", "window_frame", "cache.window_frames is missing"},
      {"replay_frames = ", "replay_frames = 9", "recache.replay_frames is 92"},
      {"timesteps = [1.0, 0.5]", "timesteps = [0.5, 1.0]",
       "stream.toml:31:13: schedule.timesteps has 1 behind 0.5; timesteps must fall"},
      {"timesteps = [1.0, 0.5]", "timesteps = [1.0, 0.99999999999]", "has 1 behind 1"},
      {"timesteps = [1.0, 0.5]", "timesteps = [1.0, -0.5]", "must fall and stay above 0"},
      {"timesteps = [1.0, 0.5]", "timesteps = [1.0, 1e-60]", "must fall and stay above 0"},
      {"timesteps = [1.0, 0.5]", "timesteps = [1.0, nan]", "must be a list of 1 to 1000 finite"},
      {"timesteps = [1.0, 0.5]\nrenoise = \"euler\"",
       "timesteps = [1000, 0.5]\nrenoise = \"fresh\"",
       "schedule.timesteps has 1000; with prediction.kind 'flow' or renoise 'fresh'"},
      {"clean_timestep = 0.0", "clean_timestep = -0.5",
       "schedule.clean_timestep is -0.5; it must lie between 0"},
      {"clean_timestep = 0.0", "clean_timestep = 2", "the first of timesteps, 1"},
      {"clean_timestep = 0.0", "clean_timestep = inf", "clean_timestep must be a finite number"},
      {"clamp = [-1.0, 1.0]", "clamp = [1.0, -1.0]",
       "stream.toml:20:9: prediction.clamp is [1, -1]; the first must be below the second"},
      {"clamp = [-1.0, 1.0]", "clamp = [-1.0, 1e300]", "prediction.clamp must be a list of 2"},
      {"range = [-1.0, 1.0]", "range = [1.0, 1.0]", "decoder.range is [1, 1]; the first must be"},
      {"timesteps = [1.0, 0.5]", "timesteps = []",
       "schedule.timesteps must be a list of 1 to 1000 finite"},
      {"kv_length = \"length\"", "kv_length = \"at\"",
       "inputs.kv_length is 'at', as inputs.write_index is; name another input"},
      {"v_in = \"v{layer}\"", "v_in = \"k{layer}\"", "cache.v_in names the inputs of k_in"},
      {"fps = 12", "fps = 12\nfpz = 1", "decoder.fpz is no key"},
      {"format = 1", "format = 2", "format must be an integer from 1 to 1"},
      {"spec = \"tiny_self\"", "kernel = 1", "attention.self must be a table with nodes and spec"},
      {"[cache]", "[cache", "stream.toml:"},
      {"scale = 8", "scale = 8000", "decoder.scale must be an integer from 1 to 64"}};
  for (const Case &c : cases) {
    auto d = parse_description(toml(c.from, c.to), "stream.toml");
    ASSERT_FALSE(d.ok()) << c.words;
    EXPECT_EQ(d.status().exit_code(), 1);
    EXPECT_NE(d.status().to_string().find(c.words), std::string::npos) << d.status().to_string();
  }
  auto d = parse_description(toml("kind = \"x0\"", "kind = \"eps\""), "stream.toml");
  EXPECT_EQ(d.status().to_string().find("stream.toml:19:8:"), 0u) << d.status().to_string();
}

TEST(Description, PatternsMatchNodeNames) {
  EXPECT_TRUE(matches_pattern("layers.*.self_attn", "layers.12.self_attn"));
  EXPECT_FALSE(matches_pattern("layers.*.self_attn", "layers.12.cross_attn"));
  EXPECT_TRUE(matches_pattern("*", ""));
  EXPECT_TRUE(matches_pattern("a*b*c", "a1b2b3c"));
  EXPECT_FALSE(matches_pattern("a*b", "a1b2"));
}

TEST(Tokenizer, FindsWordsAndNamesUnknownOnes) {
  auto t = Tokenizer::from_text("red\ngreen\r\nblue\n", 2, "vocab.txt");
  ASSERT_TRUE(t.ok());
  auto ids = t->encode("  Blue red ");
  ASSERT_TRUE(ids.ok()) << ids.status().to_string();
  EXPECT_EQ(*ids, (std::vector<int64_t>{2, 0}));
  EXPECT_NE(t->encode("red pink")
                .status()
                .message()
                .find("'pink', which the model does not know; it knows red, green, blue"),
            std::string::npos);
  EXPECT_NE(t->encode("red").status().message().find("has 1 words; this model takes 2"),
            std::string::npos);
  EXPECT_EQ(Tokenizer::from_text("a\nb\na\n", 1, "vocab.txt").status().place(), "vocab.txt:3");
  // A file that is no vocabulary: said in few words, and in such that a terminal can show.
  std::string binary(4000, '\x1b');
  const Status twice = Tokenizer::from_text(binary + "\n" + binary + "\n", 1, "vocab.txt").status();
  EXPECT_LT(twice.to_string().size(), 200u);
  EXPECT_EQ(twice.to_string().find('\x1b'), std::string::npos);
  std::string many;
  for (int i = 0; i < 5000; ++i)
    many += "word" + std::to_string(i) + "\n";
  const Status unknown = Tokenizer::from_text(many, 1, "vocab.txt")->encode("pink").status();
  EXPECT_NE(unknown.message().find("word23 and 4976 more"), std::string::npos) << unknown.message();
  EXPECT_FALSE(Tokenizer::from_text("", 1, "vocab.txt").ok());
}
