// Policies as text, slots, replay plans, and what caches refuse.
#include "runtime/cache/kv_cache.h"
#include <array>
#include <gtest/gtest.h>
#include <tuple>

using namespace attn;
using namespace attn::cache;

namespace {

Policy sink_and_ring() {
  Policy p;
  p.pin = 1;
  p.ring = 3;
  p.recache = Policy::Recache::on_prompt;
  p.replay = 4;
  return p;
}

BlockCache make(const Policy &p) {
  auto cache = BlockCache::create({p});
  EXPECT_TRUE(cache.ok()) << cache.status().to_string();
  return std::move(*cache);
}

void run_until(BlockCache &cache, int64_t blocks) {
  for (int64_t b = cache.next(); b < blocks; ++b)
    ASSERT_TRUE(cache.begin(0, b, 1, true).ok());
}

std::vector<std::array<int32_t, 3>> segments(const BlockCache &cache) {
  std::vector<Segment> list;
  cache.segments(4, 0, list);
  std::vector<std::array<int32_t, 3>> out;
  for (const Segment &s : list)
    out.push_back({s.first_slot, s.length, s.first_position});
  return out;
}

TEST(CachePolicy, ComesBackFromItsText) {
  Policy p = sink_and_ring();
  p.pin_adjacent = p.by_place = true;
  p.roped = false;
  p.spare = 2;
  p.call_most = 5;
  p.first_param = "start";
  p.pinned = Policy::Pinned::move;
  Policy kinds;
  kinds.kinds = {{"text", 512, 512, 1}, {"vision", 0, 16, 12}};
  kinds.tail_param = "pads";
  for (const Policy &each : {p, kinds}) {
    auto again = parse_policy(policy_text(each));
    ASSERT_TRUE(again.ok()) << again.status().to_string();
    EXPECT_EQ(*again, each);
  }
}

TEST(CachePolicy, RefusesDamagedText) {
  const std::pair<const char *, const char *> cases[] = {
      {"pin", "a line without a value"},
      {"pin x\n", "'pin x'"},
      {"pin -1\n", "'pin -1'"},
      {"pin 99999999999999999999\n", "means nothing"},
      {"ring 3\nreplay 4\n", "a cache of 3 blocks replays 4"},
      {"lanes 65\n", "'lanes 65'"},
      {"lanes 2\ncall_most 2\n", "takes calls of one block, not 2"},
      {"call_least 3\n", "calls have 3..1 blocks"},
      {"kind text 1\n", "a kind without three numbers"},
      {"kind text 1 2 3 4\n", "a kind with more than three numbers"},
      {"kind text 1 0 1\n", "a cache's kind has pin 1, ring 0 of 1"},
      {"kind text 1 2 1\nring 2\n", "a cache of kinds has no pin, ring"},
      {"colour 3\n", "'colour 3'"},
      {"pin \x1b[2J\n", "'?'"}};
  for (auto [text, message] : cases) {
    auto policy = parse_policy(text);
    ASSERT_FALSE(policy.ok()) << text;
    EXPECT_NE(policy.status().message().find(message), std::string::npos)
        << policy.status().message();
  }
}

TEST(BlockCache, NeighbouringSlotsAreOneSegment) {
  BlockCache cache = make(sink_and_ring());
  run_until(cache, 3);
  EXPECT_EQ(segments(cache), (std::vector<std::array<int32_t, 3>>{{0, 12, 0}}));
  run_until(cache, 8); // slots hold blocks 0, 7, 5, 6
  EXPECT_EQ(segments(cache),
            (std::vector<std::array<int32_t, 3>>{{0, 4, 0}, {4, 4, 28}, {8, 8, 20}}));
}

TEST(BlockCache, AFailedCallChangesNothing) {
  BlockCache cache = make(sink_and_ring());
  run_until(cache, 9);
  const BlockCache::State before = cache.state();
  const std::pair<cache::Run, const char *> cases[] = {
      {{10, 1}, "a call begins at block 10, but the next one is 9"},
      {{5, 1}, "block 5 is not held any more; the oldest one is 6"},
      {{9, 5}, "a call brings 5 blocks; 1..4 are declared"},
      {{9, 0}, "a call brings 0 blocks"},
      {{-1, 1}, "a call begins at block -1"}};
  for (auto [run, message] : cases) {
    Status status = cache.begin(0, run.first, run.count, true);
    EXPECT_NE(status.message().find(message), std::string::npos) << status.message();
    EXPECT_EQ(cache.state(), before);
  }
  EXPECT_TRUE(cache.begin(0, 8, 1, true).ok()); // a later pass of the newest block
  EXPECT_EQ(cache.state(), before);
}

TEST(BlockCache, ReplaysWhatFindsAPlace) {
  using Runs = std::vector<cache::Run>;
  for (auto [pinned, at, runs] : std::initializer_list<std::tuple<Policy::Pinned, int64_t, Runs>>{
           {Policy::Pinned::keep, 0, {}},
           {Policy::Pinned::keep, 4, {{0, 4}}}, // the sink is among the newest 4
           {Policy::Pinned::keep, 5, {{2, 3}}}, // block 1 has no slot
           {Policy::Pinned::keep, 50, {{47, 3}}},
           {Policy::Pinned::refresh, 50, {{0, 1}, {47, 3}}},
           {Policy::Pinned::refresh, 3, {{0, 3}}},
           {Policy::Pinned::move, 50, {{46, 4}}},
           {Policy::Pinned::move, 2, {{0, 2}}}}) {
    Policy p = sink_and_ring();
    p.pinned = pinned;
    BlockCache cache = make(p);
    run_until(cache, at);
    EXPECT_EQ(cache.replay(), runs) << at;
    for (const cache::Run &run : runs)
      EXPECT_TRUE(cache.begin_replay(run).ok());
    EXPECT_EQ(cache.next(), at);
  }
}

TEST(BlockCache, SpareBlocksCanBeTakenBackAndNoMore) {
  Policy p;
  p.ring = 4;
  p.spare = 2;
  BlockCache cache = make(p);
  run_until(cache, 20);
  EXPECT_NE(cache.take_back(3).message().find("declares spare 2"), std::string::npos);
  ASSERT_TRUE(cache.take_back(2).ok());
  ASSERT_TRUE(cache.begin(0, 18, 1, true).ok());
  std::vector<int64_t> seen;
  for (const Seen &s : cache.seen())
    seen.push_back(s.block);
  EXPECT_EQ(seen, (std::vector<int64_t>{15, 16, 17, 18}));
}

TEST(BlockCache, AKindIsEvictedWhenMoreOfItComes) {
  Policy p;
  p.kinds = {{"text", 1, 2, 1}, {"vision", 0, 2, 3}};
  p.call_most = 3;
  BlockCache cache = make(p);
  EXPECT_NE(cache.begin_kind(2, 1).message().find("there is no kind 2"), std::string::npos);
  EXPECT_NE(cache.begin_kind(1, 2).message().find("3..3 are declared"), std::string::npos);
  EXPECT_NE(cache.begin_kind(0, 4).message().find("1..3 are declared"), std::string::npos);
  for (size_t kind : {0, 1, 0, 1, 1})
    ASSERT_TRUE(cache.begin_kind(kind, 3).ok());
  std::vector<int64_t> seen, slots;
  for (const Seen &s : cache.seen()) {
    EXPECT_EQ(s.position, static_cast<int64_t>(seen.size()));
    EXPECT_EQ(s.in_call, s.block >= 12);
    seen.push_back(s.block);
    slots.push_back(s.slot);
  }
  // Text 0 is pinned; of 1, 2 | 6, 7, 8 all but 1 stay, as 2 is the newest but one when 6 comes.
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 2, 6, 7, 8, 9, 10, 11, 12, 13, 14}));
  EXPECT_EQ(slots, (std::vector<int64_t>{0, 2, 3, 4, 1, 8, 9, 10, 5, 6, 7}));
}

TEST(BlockCache, SpecsThatShareOneAgree) {
  Policy other = sink_and_ring();
  other.pin = 2;
  auto cache = BlockCache::create({sink_and_ring(), other});
  ASSERT_FALSE(cache.ok());
  EXPECT_NE(cache.status().message().find("one has pin 1, another pin 2"), std::string::npos);
}

TEST(KvCache, RefusesSnapshotsOfOtherCachesAndStaysAsItWas) {
  auto device = open_device("cpu");
  ASSERT_TRUE(device.ok());
  RowShape shape;
  shape.block_tokens = 2;
  shape.kv_heads = 1;
  shape.qk_dim = shape.v_dim = 4;
  auto make_kv = [&](int64_t ring) {
    Policy p;
    p.ring = ring;
    auto cache = KvCache::create(**device, {p}, shape);
    EXPECT_TRUE(cache.ok()) << cache.status().to_string();
    return std::move(*cache);
  };
  KvCache a = make_kv(3), b = make_kv(2);
  const std::vector<float> rows(8, 1.0f);
  for (int64_t block = 0; block < 5; ++block) {
    ASSERT_TRUE(a.begin(0, block, 1, true).ok());
    ASSERT_TRUE(a.write(0, block, rows.data(), rows.data()).ok());
    EXPECT_FALSE(a.write(0, block + 1, rows.data(), rows.data()).ok());
  }
  EXPECT_EQ(a.traffic().written, 5u * 2 * 8 * sizeof(float)); // no more, however much was evicted
  auto bytes = a.snapshot();
  ASSERT_TRUE(bytes.ok());
  EXPECT_FALSE(b.restore(*bytes).ok());
  EXPECT_EQ(b.blocks().next(), 0);
  for (size_t cut = 0; cut < bytes->size(); cut += 7)
    EXPECT_FALSE(a.restore(std::span(*bytes).first(cut)).ok());
  EXPECT_EQ(a.blocks().next(), 5);
  EXPECT_TRUE(a.restore(*bytes).ok());
}

} // namespace
