// The streaming algorithm on a tiny model: slots, positions, recache, replay of
// the same bits, fixed memory.
#include "runtime/stream/streamer.h"
#include "tests/stream/tiny_model.h"
#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace attn;
using namespace attn::stream;
namespace fs = std::filesystem;

class Stream : public testing::Test {
protected:
  fs::path dir = fs::temp_directory_path() / ("attn_stream_" + std::to_string(getpid()));
  StreamerOptions options;
  void SetUp() override {
    options.allow_reference = true;
    options.seed = 11;
  }
  void TearDown() override { fs::remove_all(dir); }
  std::unique_ptr<Streamer> open(const test::TinyStream &model = {}) {
    test::write_tiny_stream(dir, model);
    options.model_path = (dir / "step.onnx").string();
    auto s = Streamer::create(options);
    EXPECT_TRUE(s.ok()) << s.status().to_string();
    return s.ok() ? std::move(*s) : nullptr;
  }
  static std::vector<float> block(Streamer &s) {
    auto b = s.next_block();
    EXPECT_TRUE(b.ok()) << b.status().to_string();
    return {b->begin(), b->end()};
  }
  static std::vector<std::vector<float>> blocks(Streamer &s, int n) {
    std::vector<std::vector<float>> all;
    for (int i = 0; i < n; ++i)
      all.push_back(block(s));
    return all;
  }
};

TEST_F(Stream, SlotsRanksAndLengthsFollowTheRing) {
  auto s = open(); // sink 1, window 3, T 4
  s->record_passes(true);
  const int64_t slot[] = {0, 1, 2, 3, 1, 2, 3, 1};
  for (int i = 0; i < 8; ++i) {
    block(*s);
    ASSERT_EQ(s->passes().size(), 3u); // two denoising passes and the clean one
    for (const PassRecord &p : s->passes()) {
      EXPECT_EQ(p.write_index, slot[i] * 4) << i;
      EXPECT_EQ(p.kv_length, std::min(i + 1, 4) * 4);
      EXPECT_EQ(p.q_positions[0], std::min(i, 3) * 4);
      EXPECT_EQ(p.k_positions[static_cast<size_t>(slot[i] * 4 + 1)], std::min(i, 3) * 4 + 1);
    }
    EXPECT_EQ(s->passes()[0].timestep, 1.0f);
    EXPECT_EQ(s->passes()[2].timestep, 0.0f);
  }
  // Block 7 is in slot 1: slots hold blocks 0, 7, 5, 6, so their ranks are 0, 3, 1, 2.
  const std::vector<int64_t> &k = s->passes()[0].k_positions;
  EXPECT_EQ((std::vector<int64_t>{k[0], k[4], k[8], k[12]}), (std::vector<int64_t>{0, 12, 4, 8}));
}

TEST_F(Stream, KeysRotatedBeforeTheyAreCachedHaveStreamPositions) {
  test::TinyStream model;
  model.sink = 0; // then only differences count, and both ways of rotating are one
  auto by_rank = open(model);
  std::vector<std::vector<float>> want = blocks(*by_rank, 5);
  ASSERT_TRUE(by_rank->push_prompt("east").ok());
  for (std::vector<float> &b : blocks(*by_rank, 4))
    want.push_back(std::move(b));
  by_rank.reset(); // its files are written over
  model.roped = true;
  auto by_number = open(model);
  by_number->record_passes(true);
  for (int i = 0; i < 9; ++i) {
    if (i == 5) // the replayed blocks keep their numbers
      ASSERT_TRUE(by_number->push_prompt("east").ok());
    const std::vector<float> &a = want[static_cast<size_t>(i)], b = block(*by_number);
    for (size_t k = 0; k < a.size(); ++k)
      ASSERT_NEAR(a[k], b[k], 1e-4) << "block " << i;
    EXPECT_EQ(by_number->passes().back().q_positions[0], i * 4);
    EXPECT_EQ(by_number->passes().back().first_frame, i);
    EXPECT_TRUE(by_number->passes().back().k_positions.empty());
    if (i == 5) { // two blocks are replayed
      EXPECT_EQ(by_number->passes()[0].q_positions[0], 12);
      EXPECT_EQ(by_number->passes()[1].q_positions[0], 16);
    }
  }
}

TEST_F(Stream, AnInputWithoutARoleIsRefused) {
  test::TinyStream model;
  test::write_tiny_stream(dir, model); // rotates its cache by k_positions
  model.roped = true;
  std::ofstream(dir / "stream.toml") << test::tiny_toml(model);
  options.model_path = (dir / "step.onnx").string();
  auto refused = Streamer::create(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().to_string().find("the model's input 'kp' has no role"),
            std::string::npos)
      << refused.status().to_string();
}

TEST_F(Stream, SegmentsHaveStreamPositionsAndCoalesce) {
  auto s = open();
  auto segments = [&] {
    std::vector<std::array<int32_t, 3>> out;
    for (const Segment &g : s->cache_view().segments)
      out.push_back({g.first_slot, g.length, g.first_position});
    return out;
  };
  blocks(*s, 3); // slots and positions rise together: one run
  EXPECT_EQ(segments(), (std::vector<std::array<int32_t, 3>>{{0, 12, 0}}));
  blocks(*s, 5); // slots hold blocks 0, 7, 5, 6
  EXPECT_EQ(segments(), (std::vector<std::array<int32_t, 3>>{{0, 4, 0}, {4, 4, 28}, {8, 8, 20}}));
  EXPECT_EQ(s->cache_view().q_position, 28);
}

TEST_F(Stream, CompiledKernelsGiveTheReferencesFrames) {
  test::TinyStream model;
  model.spec = "dense"; // in the reference bundle of tests/device
  auto reference = open(model);
  options.allow_reference = false;
  options.bundle_path = ATTN_REFERENCE_BUNDLE;
  auto bound = open(model);
  ASSERT_TRUE(bound);
  for (int i = 0; i < 9; ++i) {
    if (i == 5) {
      ASSERT_TRUE(reference->push_prompt("east").ok());
      ASSERT_TRUE(bound->push_prompt("east").ok());
    }
    std::vector<float> a = block(*reference), b = block(*bound);
    for (size_t k = 0; k < a.size(); ++k)
      ASSERT_NEAR(a[k], b[k], 1e-5) << "block " << i;
  }
  EXPECT_EQ(bound->attention().launches, 18u); // clean passes do not need the last layer's
  EXPECT_EQ(bound->attention().chosen.at(0).find("layer0.attn: dense f32 cpu"), 0u);
}

TEST_F(Stream, AnInt8CacheGivesNearlyTheSameFramesInAThirdOfTheMemory) {
  auto wide = open();
  options.cache_type = CacheType::int8;
  auto narrow = open();
  ASSERT_TRUE(narrow);
  EXPECT_TRUE(narrow->cache(0, 0).scales);
  for (int i = 0; i < 12; ++i) {
    if (i == 7)
      for (Streamer *s : {wide.get(), narrow.get()})
        ASSERT_TRUE(s->push_prompt("south").ok());
    std::vector<float> a = block(*wide), b = block(*narrow);
    for (size_t k = 0; k < a.size(); ++k)
      ASSERT_NEAR(a[k], b[k], 0.02) << "block " << i;
  }
  // Raw keys, roped keys, values: 16 floats a row, or 16 bytes and a scale.
  EXPECT_EQ(wide->session().memory().caches, 3u * 16 * 16 * 4);
  EXPECT_EQ(narrow->session().memory().caches, 3u * 16 * (16 + 4));
}

TEST_F(Stream, AnInt8CacheReplaysToTheSameBitsAtAnyThreadCount) {
  options.cache_type = CacheType::int8;
  auto run = [&](uint32_t threads) {
    options.threads = threads;
    auto s = open();
    auto all = blocks(*s, 7);
    EXPECT_TRUE(s->push_prompt("west").ok());
    auto more = blocks(*s, 5);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  auto a = run(1);
  EXPECT_EQ(a, run(1));
  EXPECT_EQ(a, run(2));
}

TEST_F(Stream, ABundleWithoutTheSpecIsRefused) {
  options.allow_reference = false;
  options.bundle_path = ATTN_REFERENCE_BUNDLE;
  test::write_tiny_stream(dir);
  options.model_path = (dir / "step.onnx").string();
  auto s = Streamer::create(options);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.status().to_string().find("tiny_self"), std::string::npos) << s.status().to_string();
}

TEST_F(Stream, APatternThatNoNodeHasIsRefused) {
  test::write_tiny_stream(dir);
  std::string text = test::tiny_toml({});
  text.replace(text.find("layer*.attn"), 11, "layers.*");
  std::ofstream(dir / "stream.toml") << text;
  options.model_path = (dir / "step.onnx").string();
  auto s = Streamer::create(options);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.status().to_string().find("attention.self: no attention node is named 'layers.*'; "
                                        "the model has layer0.attn"),
            std::string::npos)
      << s.status().to_string();
}

// Attention that the model spells out runs without a kernel, but not without a word.
TEST_F(Stream, NodesWithoutAKernelAreNamed) {
  test::TinyStream model;
  model.spelled = true;
  model.nodes = "";
  options.allow_reference = false;
  auto s = open(model);
  ASSERT_TRUE(s);
  ASSERT_EQ(s->attention().plain.size(), 1u);
  EXPECT_NE(s->attention().plain[0].find("layer0.values"), std::string::npos);
  options.bundle_path = ATTN_REFERENCE_BUNDLE; // which was given in vain
  auto refused = Streamer::create(options);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().exit_code(), 1);
  EXPECT_NE(refused.status().to_string().find("no kernel fits an attention node of"),
            std::string::npos)
      << refused.status().to_string();
}

TEST_F(Stream, NoSinkUsesTheRingAlone) {
  options.use_sink = false;
  auto s = open();
  s->record_passes(true);
  const int64_t slot[] = {0, 1, 2, 0, 1};
  for (int64_t want : slot) {
    block(*s);
    EXPECT_EQ(s->passes()[0].write_index, want * 4);
  }
  EXPECT_EQ(s->passes()[0].kv_length, 12);
}

TEST_F(Stream, SameSeedSameBitsAtAnyThreadCount) {
  options.threads = 1;
  auto a = blocks(*open(), 9);
  options.threads = 2;
  auto b = blocks(*open(), 9);
  EXPECT_EQ(a, b);
  options.seed = 12;
  EXPECT_NE(a, blocks(*open(), 9));
}

TEST_F(Stream, PromptsChangeTheFramesAndTheirReplayIsExact) {
  auto run = [&] {
    auto s = open();
    auto all = blocks(*s, 4);
    EXPECT_TRUE(s->push_prompt("west").ok());
    auto more = blocks(*s, 4);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  auto a = run(), b = run();
  EXPECT_EQ(a, b);
  auto plain = blocks(*open(), 8);
  EXPECT_EQ(a[3], plain[3]);
  EXPECT_NE(a[4], plain[4]);
}

TEST_F(Stream, RecacheReplaysTheKeptCleanBlocksInOrder) {
  for (bool keep : {false, true}) {
    test::TinyStream model;
    model.sink_recache = keep ? "keep" : "refresh";
    auto s = open(model);
    auto made = blocks(*s, 7); // kept: 0 | 4, 5, 6
    s->record_passes(true);
    ASSERT_TRUE(s->push_prompt("south").ok());
    block(*s);
    std::vector<size_t> order = keep ? std::vector<size_t>{5, 6} : std::vector<size_t>{0, 5, 6};
    ASSERT_EQ(s->passes().size(), order.size() + 3);
    for (size_t i = 0; i < order.size(); ++i) {
      const PassRecord &p = s->passes()[i];
      size_t rank = i + (keep ? 1 : 0);
      EXPECT_EQ(p.sample, made[order[i]]);
      EXPECT_EQ(p.timestep, 0.0f);
      EXPECT_EQ(p.write_index, static_cast<int64_t>(rank * 4));
      EXPECT_EQ(p.kv_length, static_cast<int64_t>((rank + 1) * 4)); // it sees those before it
      EXPECT_EQ(p.prompt, (std::vector<int64_t>{1}));
      EXPECT_TRUE(p.prediction.empty());
    }
    EXPECT_EQ(s->passes().back().write_index, 12);
    EXPECT_GT(s->times().recache, 0);
  }
}

TEST_F(Stream, SinksAmongTheNewestBlocksAreReplayedThoughTheyAreKept) {
  test::TinyStream model;
  model.sink_recache = "keep";
  model.replay = 3;
  for (int made : {2, 3, 4, 6}) {
    auto s = open(model);
    blocks(*s, made);
    s->record_passes(true);
    ASSERT_TRUE(s->push_prompt("south").ok());
    block(*s);
    EXPECT_EQ(s->passes().size(), static_cast<size_t>(std::min(made, 3) + 3)) << made;
    EXPECT_EQ(s->passes()[0].write_index, made <= 3 ? 0 : 4) << made;
  }
}

TEST_F(Stream, ExactSavingsGiveTheSameBits) {
  const fs::path demo = fs::path(ATTN_DEMO_MODEL) / "step.onnx";
  test::write_tiny_stream(dir);
  for (const fs::path &path : {dir / "step.onnx", demo}) {
    std::vector<std::vector<float>> frames[2];
    for (bool savings : {false, true}) {
      options.model_path = path.string();
      options.exact_savings = savings;
      auto s = Streamer::create(options);
      ASSERT_TRUE(s.ok()) << s.status().to_string();
      const bool tiny = path != demo;
      for (int i = 0; i < (tiny ? 60 : 14); ++i) {
        const char *const prompts[2][2] = {{"blue square right", "red circle left"},
                                           {"south", "west"}};
        if (i % 6 == 4)
          ASSERT_TRUE((*s)->push_prompt(prompts[tiny][i / 6 % 2]).ok());
        frames[savings].push_back(block(**s));
        EXPECT_EQ((*s)->times().switched, i % 6 == 4) << i;
      }
    }
    EXPECT_EQ(frames[0], frames[1]) << path;
  }
}

TEST_F(Stream, StaleKeepsAndFlushForgets) {
  for (Recache mode : {Recache::stale, Recache::flush}) {
    options.recache = mode;
    auto s = open();
    blocks(*s, 6);
    s->record_passes(true);
    ASSERT_TRUE(s->push_prompt("south").ok());
    block(*s);
    ASSERT_EQ(s->passes().size(), 3u);
    EXPECT_EQ(s->passes()[0].write_index, mode == Recache::flush ? 0 : 12);
    EXPECT_EQ(s->passes()[0].kv_length, mode == Recache::flush ? 4 : 16);
  }
}

TEST_F(Stream, TheSamePromptAgainDoesNothing) {
  auto a = open();
  auto b = open();
  blocks(*a, 5), blocks(*b, 5);
  ASSERT_TRUE(b->push_prompt("north").ok()); // the default
  EXPECT_EQ(block(*a), block(*b));
}

TEST_F(Stream, BlocksOfSeveralFramesAndOtherRules) {
  test::TinyStream model{2, 2, 4, 2, "flow", "fresh", "keep", "tiny_self"};
  auto s = open(model);
  s->record_passes(true);
  const int64_t slot[] = {0, 1, 2, 1};
  for (int64_t want : slot) {
    EXPECT_EQ(block(*s).size(), 24u);
    EXPECT_EQ(s->passes()[0].write_index, want * 8);
    // flow: x0 = clamp(x - t v)
    const PassRecord &last = s->passes()[1];
    float x0 = last.sample[5] - 0.5f * last.prediction[5];
    EXPECT_EQ(s->passes()[2].sample[5], std::min(std::max(x0, -1.0f), 1.0f));
  }
}

TEST_F(Stream, MemoryStaysTheSame) {
  auto s = open();
  blocks(*s, 20);
  graph::MemoryUse before = s->session().memory();
  const void *cache = s->cache(0, 0).rows->data;
  for (int i = 0; i < 2000; ++i)
    ASSERT_TRUE(s->next_block().ok());
  graph::MemoryUse after = s->session().memory();
  EXPECT_EQ(before.arena + before.persistent + before.memo,
            after.arena + after.persistent + after.memo);
  EXPECT_EQ(cache, s->cache(0, 0).rows->data);
}

TEST_F(Stream, WithoutABundleTheCommandIsNamed) {
  options.allow_reference = false;
  test::write_tiny_stream(dir);
  options.model_path = (dir / "step.onnx").string();
  auto s = Streamer::create(options);
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.status().exit_code(), 1);
  EXPECT_NE(s.status().message().find(" --spec specs/tiny_self.attn --target cpu -o model.attnb"),
            std::string::npos)
      << s.status().to_string();
}

TEST_F(Stream, ModelAndDescriptionMustAgree) {
  test::write_tiny_stream(dir);
  options.model_path = (dir / "step.onnx").string();
  test::TinyStream other;
  other.window = 5;
  std::ofstream(dir / "stream.toml") << test::tiny_toml(other);
  auto s = Streamer::create(options);
  ASSERT_FALSE(s.ok());
  EXPECT_NE(s.status().message().find("int64 [1, 24] is described"), std::string::npos)
      << s.status().to_string();
}
