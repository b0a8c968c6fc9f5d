// Coordinates under each token order, against a walk over the tokens in the
// order that the definition states; and masks that must not change with it.
#include "compiler/oracle/Places.h"
#include "tests/oracle/support.h"

#include <algorithm>
#include <array>

namespace attn::oracle {
namespace {

using Token = std::array<int, 3>; // t, y, x

spec::AttentionSpec ordered(const std::string &space, const std::string &order,
                            const std::string &clauses = "  mask all") {
  return specOf("attention test {\n  space text(i: 5)\n  space grid(" + space + ") " + order +
                "\n  tokens seq = text ++ grid\n  query seq\n  keys seq\n  heads 1 dim 8\n" +
                clauses + "\n}\n");
}

void expectOrder(const spec::AttentionSpec &spec, const std::vector<Token> &walk) {
  Bindings bindings;
  Places places(spec, bindings);
  for (spec::Side side : {spec::Side::Query, spec::Side::Key})
    for (size_t i = 0; i < walk.size(); ++i) {
      Places::Place place = places.at(side, static_cast<int32_t>(i) + 5); // after the text
      ASSERT_EQ(place.space, "grid");
      ASSERT_EQ(place.coordinates.size(), 3u);
      for (size_t axis = 0; axis < 3; ++axis)
        EXPECT_EQ(place.coordinates[axis].second, walk[i][axis])
            << "token " << i << ", axis " << place.coordinates[axis].first;
    }
}

TEST(TokenOrder, permutedAxes) {
  std::vector<Token> walk;
  for (int x = 0; x < 5; ++x)
    for (int t = 0; t < 2; ++t)
      for (int y = 0; y < 3; ++y)
        walk.push_back({t, y, x});
  expectOrder(ordered("t: 2, y: 3, x: 5", "order (x, t, y)"), walk);
}

TEST(TokenOrder, tilesOneAfterAnother) {
  std::vector<Token> walk;
  for (int tt = 0; tt < 2; ++tt)
    for (int ty = 0; ty < 2; ++ty)
      for (int tx = 0; tx < 3; ++tx)
        for (int t = 0; t < 2; ++t)
          for (int y = 0; y < 3; ++y)
            for (int x = 0; x < 4; ++x)
              walk.push_back({tt * 2 + t, ty * 3 + y, tx * 4 + x});
  expectOrder(ordered("t: 4, y: 6, x: 12", "order tiled (t: 2, y: 3, x: 4)"), walk);
}

TEST(TokenOrder, tilesOfSomeAxes) {
  std::vector<Token> walk;
  for (int t = 0; t < 3; ++t)
    for (int ty = 0; ty < 3; ++ty)
      for (int x = 0; x < 4; ++x) // the tile holds the whole axis x
        walk.push_back({t, ty, x});
  expectOrder(ordered("t: 3, y: 3, x: 4", "order tiled (x: 4)"), walk);
}

// Independent of bit tricks: quadrants within quadrants.
void quadrants(int t, int y, int x, int side, std::vector<Token> &walk) {
  if (side == 1) {
    walk.push_back({t, y, x});
    return;
  }
  int half = side / 2;
  for (int dy : {0, half})
    for (int dx : {0, half})
      quadrants(t, y + dy, x + dx, half, walk);
}

TEST(TokenOrder, mortonOfASquare) {
  std::vector<Token> walk;
  for (int t = 0; t < 3; ++t)
    quadrants(t, 0, 0, 8, walk);
  expectOrder(ordered("t: 3, y: 8, x: 8", "order morton (y, x)"), walk);
}

TEST(TokenOrder, mortonOfALongRectangle) {
  std::vector<Token> walk; // x has two more bits: squares side by side
  for (int t = 0; t < 2; ++t)
    for (int square = 0; square < 4; ++square)
      quadrants(t, 0, square * 4, 4, walk);
  expectOrder(ordered("t: 2, y: 4, x: 16", "order morton (y, x)"), walk);
}

TEST(TokenOrder, mortonOfThreeAxes) {
  std::vector<Token> walk;
  for (int big = 0; big < 8; ++big)
    for (int small = 0; small < 8; ++small)
      walk.push_back({(big >> 2) * 2 + (small >> 2), (big >> 1 & 1) * 2 + (small >> 1 & 1),
                      (big & 1) * 2 + (small & 1)});
  expectOrder(ordered("t: 4, y: 4, x: 4", "order morton (t, y, x)"), walk);
}

// A mask speaks of coordinates: in every order the same pairs of tokens see
// each other.
TEST(TokenOrder, masksDoNotChange) {
  const std::string space = "t: 2, y: 4, x: 8";
  const std::string mask = "  axis band = grid.y // 2\n  mask case { grid -> grid: neighborhood(y: "
                           "3, x: 5) and causal(t) or same(band) and q.x % 3 == k.x % 3 }";
  spec::AttentionSpec plain = ordered(space, "", mask);
  Bindings bindings;
  Places plainPlaces(plain, bindings);
  auto tokenOf = [&](const Places &places, spec::Side side, int32_t position) {
    Places::Place place = places.at(side, position);
    return Token{place.coordinates[0].second, place.coordinates[1].second,
                 place.coordinates[2].second};
  };
  for (const char *order :
       {"order (x, y, t)", "order tiled (t: 2, y: 2, x: 4)", "order tiled (y: 4)",
        "order morton (y, x)", "order morton (t, x, y)"}) {
    spec::AttentionSpec other = ordered(space, order, mask);
    Places places(other, bindings);
    for (int32_t q = 5; q < 69; ++q)
      for (int32_t k = 5; k < 69; ++k) {
        Token tq = tokenOf(places, spec::Side::Query, q), tk = tokenOf(places, spec::Side::Key, k);
        int32_t plainQ = 5 + (tq[0] * 4 + tq[1]) * 8 + tq[2];
        int32_t plainK = 5 + (tk[0] * 4 + tk[1]) * 8 + tk[2];
        ASSERT_EQ(maskAt(other, bindings, 0, 0, q, k),
                  maskAt(plain, bindings, 0, 0, plainQ, plainK))
            << order << " q " << q << " k " << k;
      }
  }
}

// Blocks of whole tiles stay one plain decode, which classifies best.
TEST(TokenOrder, wholeTilesKeepAClosedForm) {
  spec::AttentionSpec spec =
      ordered("t: 4, y: 8, x: 8", "order tiled (y: 4, x: 4)",
              "  axis ty = grid.y // 4\n  mask case { grid -> grid: same(ty) }");
  const spec::Expr *same = spec.mask.get();
  while (same->op != spec::Op::Pattern)
    same = same->operands.back().get();
  const spec::AxisRef *axis = same->pattern().axis("a");
  ASSERT_TRUE(axis && axis->query.decode);
  EXPECT_EQ(axis->query.decode->divisor.value, 32); // two tiles of 16 side by side
  EXPECT_EQ(axis->query.decode->modulus.value, 2);
}

} // namespace
} // namespace attn::oracle
