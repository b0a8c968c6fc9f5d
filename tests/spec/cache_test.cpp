// cache_c1 against brute force: for random masks, pins and rings, a spec is
// accepted only if no pair of blocks breaks the rule, and the shipped shapes of
// masks are never refused.
#include "tests/spec/support.h"

#include <random>

namespace attn::spec {
namespace {

std::string cached(const std::string &mask, int pin, int ring, const std::string &axis = "t",
                   const std::string &more = "") {
  return "attention test {\n  space video(t: stream, y: 3, x: 5)\n  query video\n  keys video\n"
         "  heads 4 dim 64\n" +
         more + "  mask " + mask + "\n  cache " + axis + " { pin " + std::to_string(pin) +
         "; ring " + std::to_string(ring) + " }\n}\n";
}

TEST(CacheRetention, acceptsExactlyWhatIsKept) {
  EXPECT_EQ(firstError(cached("causal(t) and window(t, 3)", 0, 3)), "");
  EXPECT_EQ(firstError(cached("causal(t) and window(t, 3)", 0, 2)), "cache_c1");
  EXPECT_EQ(firstError(cached("causal(t) and (sink(t, 2) or window(t, 3))", 2, 3)), "");
  EXPECT_EQ(firstError(cached("causal(t) and (sink(t, 2) or window(t, 3))", 1, 3)), "cache_c1");
  EXPECT_EQ(firstError(cached("causal(t)", 0, 8)), "cache_c1");
  EXPECT_EQ(firstError(cached("same(t)", 0, 1)), "");
  EXPECT_EQ(firstError(cached("all", 0, 8)), "cache_c1");
  EXPECT_EQ(firstError(cached("band(t, 2, 0)", 0, 3)), "");
  EXPECT_EQ(firstError(cached("band(t, 2, 1)", 0, 3)), "cache_c1");
  EXPECT_EQ(firstError(cached("chunked(t, 4) and causal(t)", 0, 4)), "");
  EXPECT_EQ(firstError(cached("chunked(t, 4) and causal(t)", 0, 3)), "cache_c1");
  EXPECT_EQ(firstError(cached("causal(t) and q.t - k.t < 2 and q.x == k.x", 0, 2)), "");
}

TEST(CacheRetention, seesBlocksOfSeveralFrames) {
  const std::string blocks = "  axis b = video.t // 3\n";
  EXPECT_EQ(firstError(cached("causal(b) and window(b, 3)", 0, 3, "b", blocks)), "");
  // Four frames reach into the previous block, never into the one before it.
  EXPECT_EQ(firstError(cached("causal(t) and window(t, 4)", 0, 2, "b", blocks)), "");
  EXPECT_EQ(firstError(cached("causal(t) and window(t, 5)", 0, 2, "b", blocks)), "cache_c1");
  EXPECT_EQ(firstError(cached("causal(t) and sink(t, 3)", 1, 1, "b", blocks)), "");
  EXPECT_EQ(firstError(cached("causal(t) and sink(t, 4)", 1, 1, "b", blocks)), "cache_c1");
}

TEST(CacheRetention, countsInPositions) {
  EXPECT_EQ(firstError(cached("k.position <= q.position and q.position - k.position < 16 and "
                              "causal(t)",
                              0, 2)),
            "");
  EXPECT_EQ(firstError(cached("q.position - k.position < 17 and causal(t)", 0, 2)), "cache_c1");
}

TEST(CacheRetention, holdsForEveryParameter) {
  const std::string param = "  param n in 1..6\n";
  EXPECT_EQ(firstError(cached("causal(t) and window(t, n)", 0, 6, "t", param)), "");
  EXPECT_EQ(firstError(cached("causal(t) and window(t, n)", 0, 5, "t", param)), "cache_c1");
}

TEST(CacheRetention, isSoundAgainstBruteForce) {
  std::mt19937 random(7);
  auto pick = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  int acceptedCount = 0;
  for (int round = 0; round < 300; ++round) {
    int window = pick(1, 5), sink = pick(0, 3), pin = pick(0, 3), ring = pick(1, 6);
    int step = pick(1, 3), ahead = pick(-1, 1);
    // A mask over frames, once as text and once as a function.
    std::string text = "(q.t - k.t < " + std::to_string(window) + " or k.t < " +
                       std::to_string(sink) + ") and k.t - q.t <= " + std::to_string(ahead) +
                       " and (q.t - k.t) % " + std::to_string(step) + " == 0";
    auto mask = [&](int q, int k) {
      int difference = q - k;
      int rest = ((difference % step) + step) % step;
      return (difference < window || k < sink) && k - q <= ahead && rest == 0;
    };
    bool kept = true;
    for (int q = 0; q < 40; ++q)
      for (int k = 0; k < 42; ++k)
        if (mask(q, k) && (k > q || (k >= pin && q - k >= ring)))
          kept = false;
    bool accepts = firstError(cached(text, pin, ring)).empty();
    acceptedCount += accepts;
    EXPECT_EQ(accepts, kept) << text << " pin " << pin << " ring " << ring;
  }
  EXPECT_GT(acceptedCount, 30); // the comparison must not be empty
}

} // namespace
} // namespace attn::spec
