// What the checker makes of declarations: decodes, extents, concatenations,
// packed documents, ragged lengths, caches, and the arguments of pattern nodes.
#include "tests/spec/support.h"

namespace attn::spec {
namespace {

const char *longlive = "attention a {\n"
                       "  space video(t: stream, y: 30, x: 52)\n"
                       "  axis b = video.t // 3\n"
                       "  query video, b: 1..4 per call\n"
                       "  keys video\n"
                       "  heads 12 kv 4 dim 128 value 64\n"
                       "  mask causal(b) and window(b, 3)\n"
                       "  cache b { pin 1; ring 3; store raw, int8 per (head); write last pass }\n"
                       "  recache on prompt { replay 2; mask causal(b); pin refresh }\n"
                       "}\n";

TEST(Resolve, decodesCoordinates) {
  AttentionSpec spec = accepted("attention a {\n  space v(t: stream, y: 30, x: 52)\n  query v\n"
                                "  keys v\n  heads 1 dim 8\n  mask q.t + q.y + q.x > 0\n}\n");
  const Expr &sum = *spec.mask->operands[0];
  const Decode &t = sum.operands[0]->operands[0]->coordinate().decode;
  const Decode &y = sum.operands[0]->operands[1]->coordinate().decode;
  const Decode &x = sum.operands[1]->coordinate().decode;
  EXPECT_EQ(t.divisor.value, 30 * 52);
  EXPECT_EQ(t.modulus.value, 0);
  EXPECT_EQ(y.divisor.value, 52);
  EXPECT_EQ(y.modulus.value, 30);
  EXPECT_EQ(x.divisor.value, 1);
  EXPECT_EQ(x.modulus.value, 52);
}

TEST(Resolve, patternNodeCarriesItsAxis) {
  AttentionSpec spec = accepted(longlive);
  ASSERT_EQ(spec.mask->op, Op::And);
  const Expr &window = *spec.mask->operands[1];
  ASSERT_EQ(window.op, Op::Pattern);
  EXPECT_EQ(window.pattern().name, "window");
  EXPECT_TRUE(window.pattern().standard);
  const AxisRef *axis = window.pattern().axis("a");
  ASSERT_TRUE(axis);
  EXPECT_EQ(axis->name, "b");
  ASSERT_TRUE(axis->query.decode && axis->key.decode);
  EXPECT_EQ(axis->key.decode->divisor.value, 3 * 30 * 52);
  EXPECT_EQ(axis->key.decode->modulus.value, 0);
  EXPECT_FALSE(axis->key.extent);
  EXPECT_EQ(constantInt(window.pattern().value("n")), 3);
}

TEST(Resolve, derivedAxesWithinAWrapAreDecoded) {
  AttentionSpec spec = accepted("attention a {\n  space v(t: 4, y: 12, x: 5)\n"
                                "  axis yb = v.y // 4\n  axis ys = v.y // 5\n  axis yr = v.y % 4\n"
                                "  query v\n  keys v\n  heads 1 dim 8\n"
                                "  mask same(yb) and same(ys) and same(yr)\n}\n");
  const Expr &both = *spec.mask->operands[0];
  const AxisRef *yb = both.operands[0]->pattern().axis("a");
  const AxisRef *ys = both.operands[1]->pattern().axis("a");
  const AxisRef *yr = spec.mask->operands[1]->pattern().axis("a");
  ASSERT_TRUE(yb->key.decode);
  EXPECT_EQ(yb->key.decode->divisor.value, 5 * 4);
  EXPECT_EQ(yb->key.decode->modulus.value, 3);
  EXPECT_EQ(yb->key.extent->value, 3);
  EXPECT_FALSE(ys->key.decode) << "12 is no multiple of 5: a block straddles the wrap";
  EXPECT_EQ(ys->key.extent->value, 3);
  ASSERT_TRUE(yr->key.decode);
  EXPECT_EQ(yr->key.decode->modulus.value, 4);
  EXPECT_EQ(yr->key.extent->value, 4);
}

TEST(Resolve, clausesOfALonglive) {
  AttentionSpec spec = accepted(longlive);
  EXPECT_EQ(spec.heads, 12);
  EXPECT_EQ(spec.kvHeads, 4);
  EXPECT_EQ(spec.qkDim, 128);
  EXPECT_EQ(spec.vDim, 64);
  ASSERT_TRUE(spec.queryBlock);
  EXPECT_EQ(spec.queryBlock->axis.name, "b");
  EXPECT_EQ(spec.queryBlock->minimum, 1);
  EXPECT_EQ(spec.queryBlock->maximum, 4);
  ASSERT_TRUE(spec.cache);
  EXPECT_EQ(spec.cache->pin, 1);
  EXPECT_EQ(spec.cache->ring, 3);
  EXPECT_FALSE(spec.cache->storeRoped);
  EXPECT_EQ(spec.cache->element, Element::Int8);
  EXPECT_EQ(spec.cache->granularity, Granularity::PerHead);
  EXPECT_EQ(spec.cache->write, WritePolicy::LastPass);
  ASSERT_TRUE(spec.recache);
  EXPECT_EQ(spec.recache->replay, 2);
  EXPECT_EQ(spec.recache->pin, PinRecache::Refresh);
  EXPECT_EQ(toString(spec, *spec.recache->mask), "causal(b)");
}

TEST(Resolve, concatenationBasesAreParameters) {
  AttentionSpec spec = accepted(
      "attention a {\n  param T in 2..9\n  space text(i: ragged <= 512)\n"
      "  space video(t: T, x: 4)\n  tokens seq = text ++ video\n  query seq\n  keys video\n"
      "  heads 1 dim 8\n  mask case { text -> video: all\n  video -> video: causal(t) }\n}\n");
  ASSERT_EQ(spec.params.size(), 2u);
  EXPECT_EQ(spec.params[1].name, "len_text");
  EXPECT_TRUE(spec.params[1].implicit);
  EXPECT_EQ(spec.params[1].maximum, 512);
  ASSERT_EQ(spec.query.groups.size(), 2u);
  EXPECT_FALSE(spec.query.groups[1].base.isStatic());
  EXPECT_TRUE(spec.keys.groups[0].base.isStatic());
  EXPECT_EQ(toString(spec, *spec.mask),
            "q.position < len_text or q.position >= len_text and causal(t)");
}

TEST(Resolve, packedDocumentsReadTheirTables) {
  AttentionSpec spec =
      accepted("attention a {\n  space tok(doc: packed, i: ragged <= 64)\n  query tok\n"
               "  keys tok\n  heads 1 dim 8\n  mask same(doc) and causal(i)\n}\n");
  ASSERT_EQ(spec.tables.size(), 2u);
  EXPECT_EQ(spec.tables[0].name, "tok_doc");
  EXPECT_EQ(spec.tables[1].name, "tok_start");
  EXPECT_TRUE(spec.tables[1].implicit);
}

TEST(Resolve, typesDefaultToBf16) {
  AttentionSpec spec = accepted(overTokens("  mask all"));
  EXPECT_FALSE(spec.types.stated);
  EXPECT_EQ(spec.types.q, Element::BF16);
  spec = accepted(overTokens("  mask all\n  type f32"));
  EXPECT_TRUE(spec.types.stated);
  EXPECT_EQ(spec.types.v, Element::F32);
  spec = accepted(overTokens("  mask all\n  type q bf16, k int8, v int8, o f32"));
  EXPECT_EQ(spec.types.k, Element::Int8);
  EXPECT_EQ(spec.types.o, Element::F32);
}

TEST(Resolve, scaleIsAConstant) {
  EXPECT_EQ(accepted(overTokens("  mask all\n  scale 1 / sqrt(16)")).scale, 0.25);
  EXPECT_FALSE(accepted(overTokens("  mask all")).scale);
}

TEST(Resolve, severalAttentionsInAFile) {
  Diagnostics diagnostics;
  std::string second = overTokens("  mask causal(i)");
  second.replace(second.find("test"), 4, "other");
  auto spec = parseAndCheck(overTokens("  mask all") + second, "x.attn", diagnostics);
  ASSERT_TRUE(spec) << diagnostics.render();
  ASSERT_TRUE(spec->find("other"));
  EXPECT_TRUE(spec->find("test")->maskIsAll());
  EXPECT_FALSE(spec->find("other")->maskIsAll());
  EXPECT_FALSE(spec->find("third"));
}

TEST(Resolve, placesPointAtTheSource) {
  AttentionSpec spec = accepted(overTokens("  mask causal(i) and q.i - k.i < 4"));
  EXPECT_EQ(spec.mask->operands[0]->range.line, 6u);
  EXPECT_EQ(spec.mask->operands[0]->range.column, 8u);
  EXPECT_EQ(spec.mask->operands[1]->range.column, 22u);
  // Inside the pattern the place is the library's.
  EXPECT_NE(spec.mask->operands[0]->operands[0]->range.file, 0u);
}

} // namespace
} // namespace attn::spec
