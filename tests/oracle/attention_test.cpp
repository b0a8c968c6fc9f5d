// The whole attention: against a second, plain computation; masked rows, LSE,
// sink logits, groups, segments, merging, int8, inputs, and refused shapes.
#include "tests/oracle/support.h"

#include <limits>

namespace attn::oracle {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

double dot(const double *a, const double *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i)
    sum += a[i] * b[i];
  return sum;
}

// One row of plain attention over the listed keys.
std::vector<double> plainRow(const Sample &s, const spec::AttentionSpec &spec, int b, int h, int r,
                             const std::vector<int> &keys, double *lse) {
  int kv = h / (s.call.heads / s.call.kvHeads);
  const double *q =
      s.q.data() + ((size_t(b) * s.call.heads + h) * s.call.queryLength + r) * spec.qkDim;
  const double *k = s.k.data() + (size_t(b) * s.call.kvHeads + kv) * s.call.slots * spec.qkDim;
  const double *v = s.v.data() + (size_t(b) * s.call.kvHeads + kv) * s.call.slots * spec.vDim;
  std::vector<double> o(size_t(spec.vDim), 0);
  double total = 0;
  for (int key : keys) {
    double w = std::exp(dot(q, k + key * spec.qkDim, spec.qkDim) / std::sqrt(double(spec.qkDim)));
    total += w;
    for (int64_t d = 0; d < spec.vDim; ++d)
      o[size_t(d)] += w * v[key * spec.vDim + d];
  }
  for (double &x : o)
    x /= total;
  *lse = std::log(total);
  return o;
}

TEST(Attention, matchesAPlainComputation) {
  auto spec =
      tokens("i: stream", "  mask causal(i) and window(i, 4)", "heads 6 kv 2 dim 8 value 5");
  Sample s = sample(spec, 2, 6, 2, 9, 9);
  Result result = attentionReference(spec, s.call, s.arrays());
  ASSERT_TRUE(result.ok()) << result.error;
  for (int b = 0; b < 2; ++b)
    for (int h = 0; h < 6; ++h)
      for (int r = 0; r < 9; ++r) {
        std::vector<int> keys;
        for (int k = std::max(0, r - 3); k <= r; ++k)
          keys.push_back(k);
        double lse = 0;
        auto o = plainRow(s, spec, b, h, r, keys, &lse);
        size_t row = (size_t(b) * 6 + h) * 9 + r;
        EXPECT_NEAR(result.lse[row], lse, 1e-12);
        for (size_t d = 0; d < 5; ++d)
          EXPECT_NEAR(result.o[row * 5 + d], o[d], 1e-12);
      }
}

TEST(Attention, maskedRowsAreZeroAndMinusInfinity) {
  auto spec = tokens("i: stream", "  mask q.i >= 3 and causal(i)");
  Sample s = sample(spec, 1, 1, 1, 6, 6);
  Result result = attentionReference(spec, s.call, s.arrays());
  for (int r = 0; r < 3; ++r) {
    EXPECT_EQ(result.lse[size_t(r)], -infinity);
    for (int d = 0; d < 8; ++d)
      EXPECT_EQ(result.o[size_t(r) * 8 + d], 0);
  }
  EXPECT_TRUE(std::isfinite(result.lse[3]));
}

TEST(Attention, excludedKeysCannotLeak) {
  auto spec = tokens("i: stream", "  mask causal(i)");
  Sample s = sample(spec, 1, 1, 1, 4, 6);
  Result clean = attentionReference(spec, s.call, s.arrays());
  for (int d = 0; d < 8; ++d) {
    s.k[5 * 8 + size_t(d)] = std::nan("");
    s.v[5 * 8 + size_t(d)] = infinity;
  }
  Result dirty = attentionReference(spec, s.call, s.arrays());
  EXPECT_EQ(clean.o, dirty.o);
  EXPECT_EQ(clean.lse, dirty.lse);
}

TEST(Attention, sinkLogitEntersTheDenominatorAndTheLse) {
  auto with = tokens("i: stream", "  table sink_logit[head]: f32\n  mask q.i > 0 and causal(i)\n"
                                  "  softmax with sink_logit[head]");
  auto without = tokens("i: stream", "  mask q.i > 0 and causal(i)");
  Sample s = sample(with, 1, 2, 2, 5, 5);
  Result plain = attentionReference(without, s.call, s.arrays());
  s.call.bindings.tables = {TableData{{2}, {0.3, -1.5}}};
  Result sunk = attentionReference(with, s.call, s.arrays());
  const double logits[] = {0.3, -1.5};
  for (int h = 0; h < 2; ++h)
    for (int r = 0; r < 5; ++r) {
      size_t row = size_t(h) * 5 + r;
      if (r == 0) { // masked: the logit alone remains
        EXPECT_EQ(sunk.lse[row], logits[h]);
        EXPECT_EQ(sunk.o[row * 8], 0);
        continue;
      }
      double lse = std::log(std::exp(plain.lse[row]) + std::exp(logits[h]));
      EXPECT_NEAR(sunk.lse[row], lse, 1e-12);
      for (size_t d = 0; d < 8; ++d)
        EXPECT_NEAR(sunk.o[row * 8 + d], plain.o[row * 8 + d] * std::exp(plain.lse[row] - lse),
                    1e-12);
    }
  // A partial result leaves the logit to the merge, which applies it once.
  Options partial;
  partial.partial = true;
  Result part = attentionReference(with, s.call, s.arrays(), partial);
  EXPECT_EQ(part.lse, plain.lse);
  std::vector<double> rows;
  for (double logit : logits)
    rows.insert(rows.end(), 5, logit);
  Partial merged = mergePartials({{part.o, part.lse}}, 8, &rows);
  for (size_t i = 0; i < merged.o.size(); ++i)
    EXPECT_NEAR(merged.o[i], sunk.o[i], 1e-12);
}

TEST(Attention, partsMergeToTheWhole) {
  auto whole = tokens("i: stream", "  mask causal(i)");
  auto low = tokens("i: stream", "  mask causal(i) and k.i < 4");
  auto high = tokens("i: stream", "  mask causal(i) and k.i >= 4");
  Sample s = sample(whole, 1, 2, 1, 9, 9);
  Result all = attentionReference(whole, s.call, s.arrays());
  Result a = attentionReference(low, s.call, s.arrays());
  Result b = attentionReference(high, s.call, s.arrays());
  Partial merged = mergePartials({{a.o, a.lse}, {b.o, b.lse}}, 8);
  for (size_t i = 0; i < all.o.size(); ++i)
    EXPECT_NEAR(merged.o[i], all.o[i], 1e-12);
  // Rows 0..3 have an empty part: exact.
  for (size_t i = 0; i < 4 * 8; ++i)
    EXPECT_EQ(merged.o[i], a.o[i]);
}

// A rotated cache is the flat one: positions come from segments, not slots.
TEST(Attention, segmentsGiveThePositions) {
  auto spec = tokens("t: stream, i: 4", "  mask causal(t) and (sink(t, 1) or window(t, 2))");
  Sample flat = sample(spec, 1, 1, 1, 4, 20);
  flat.call.queryPosition = 16;
  Result expected = attentionReference(spec, flat.call, flat.arrays());
  // Frame 0 in slots 0..3; ring of two frames: frame 4 in slots 4..7, frame 3 in 8..11.
  Sample ring = flat;
  ring.call.slots = 12;
  ring.call.segments = {{{0, 4, 0}, {4, 4, 16}, {8, 4, 12}}};
  auto gather = [](const std::vector<double> &from) {
    std::vector<double> to;
    for (int frame : {0, 4, 3})
      to.insert(to.end(), from.begin() + frame * 32, from.begin() + (frame + 1) * 32);
    return to;
  };
  ring.k = gather(flat.k);
  ring.v = gather(flat.v);
  Result rotated = attentionReference(spec, ring.call, ring.arrays());
  ASSERT_TRUE(rotated.ok()) << rotated.error;
  for (size_t i = 0; i < expected.o.size(); ++i)
    EXPECT_NEAR(rotated.o[i], expected.o[i], 1e-12);
}

TEST(Attention, segmentsMayDifferByBatch) {
  auto spec = tokens("i: stream", "  mask all");
  Sample s = sample(spec, 2, 1, 1, 3, 6);
  s.call.segments = {{{0, 2, 0}}, {{0, 5, 0}}};
  Result result = attentionReference(spec, s.call, s.arrays());
  double lse = 0;
  auto o = plainRow(s, spec, 0, 0, 1, {0, 1}, &lse);
  EXPECT_NEAR(result.o[8], o[0], 1e-12);
  o = plainRow(s, spec, 1, 0, 2, {0, 1, 2, 3, 4}, &lse);
  EXPECT_NEAR(result.o[5 * 8], o[0], 1e-12);
}

TEST(Attention, scoreAndScaleOrder) {
  // softcap of the scaled score, then the mask.
  auto spec = tokens("i: stream", "  mask causal(i)\n  scale 0.5\n  score softcap(s, 2)");
  Sample s = sample(spec, 1, 1, 1, 2, 2);
  Result result = attentionReference(spec, s.call, s.arrays());
  double a = 2 * std::tanh(0.5 * dot(&s.q[8], &s.k[0], 8) / 2);
  double b = 2 * std::tanh(0.5 * dot(&s.q[8], &s.k[8], 8) / 2);
  EXPECT_NEAR(result.lse[1], std::log(std::exp(a) + std::exp(b)), 1e-12);
  s.call.scale = 0.25; // the call's scale wins
  result = attentionReference(spec, s.call, s.arrays());
  EXPECT_NEAR(result.lse[0], 2 * std::tanh(0.25 * dot(&s.q[0], &s.k[0], 8) / 2), 1e-12);
}

TEST(Attention, outputGate) {
  auto gated = tokens("i: stream", "  input gate[q, head, dim]: bf16\n  mask causal(i)\n"
                                   "  output o * sigmoid(gate)");
  auto plain = tokens("i: stream", "  mask causal(i)");
  Sample s = sample(gated, 1, 2, 2, 3, 3);
  Result before = attentionReference(plain, s.call, s.arrays());
  InputData gate{1, 3, 2, 8, randomValues(3 * 2 * 8, 9)};
  s.call.bindings.inputs = {gate};
  Result after = attentionReference(gated, s.call, s.arrays());
  ASSERT_TRUE(after.ok()) << after.error;
  for (size_t h = 0; h < 2; ++h)
    for (size_t r = 0; r < 3; ++r)
      for (size_t d = 0; d < 8; ++d) {
        double g = gate.values[(r * 2 + h) * 8 + d];
        size_t at = (h * 3 + r) * 8 + d;
        EXPECT_NEAR(after.o[at], before.o[at] / (1 + std::exp(-g)), 1e-12);
      }
}

TEST(Attention, int8RoundsPerRow) {
  std::vector<double> row{1.0, -0.5, 0.2537, 0.0, 0.0, 0.0, 0.0, 0.0};
  roundToInt8(row, 4);
  double scale = double(1.0f / 127.0f);
  EXPECT_EQ(row[0], 127 * scale);
  EXPECT_EQ(row[1], -64 * scale); // 63.5 rounds to even
  EXPECT_EQ(row[2], 32 * scale);
  EXPECT_EQ(row[4], 0); // a row of zeros has scale 0 and stays zero
  auto spec = tokens("i: stream", "  mask causal(i)", "heads any dim 64");
  Sample s = sample(spec, 1, 2, 2, 16, 16);
  Options options;
  options.quantizeQ = options.quantizeK = options.quantizeV = true;
  Result exact = attentionReference(spec, s.call, s.arrays());
  Result rounded = attentionReference(spec, s.call, s.arrays(), options);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < exact.o.size(); ++i) {
    difference += std::pow(exact.o[i] - rounded.o[i], 2);
    norm += exact.o[i] * exact.o[i];
  }
  double relative = std::sqrt(difference / norm);
  EXPECT_GT(relative, 1e-4);
  EXPECT_LT(relative, 2e-2);
}

TEST(Attention, recacheMask) {
  auto spec = specOf("attention a {\n  space video(t: stream, i: 2)\n  query video, t: 1 per call\n"
                     "  keys video\n  heads 1 dim 8\n  mask causal(t) and window(t, 2)\n"
                     "  cache t { ring 2 }\n  recache on prompt { replay 2; mask all }\n}\n");
  Sample s = sample(spec, 1, 1, 1, 4, 4);
  Options options;
  options.recacheMask = true;
  Result result = attentionReference(spec, s.call, s.arrays(), options);
  double lse = 0;
  plainRow(s, spec, 0, 0, 0, {0, 1, 2, 3}, &lse);
  EXPECT_NEAR(result.lse[0], lse, 1e-12);
}

TEST(Attention, refusesWrongShapes) {
  auto spec = tokens("i: stream", "  param n in 1..4\n  table t[head]: f32\n  mask window(i, n)\n"
                                  "  score s + t[head]");
  Sample s = sample(spec, 1, 2, 2, 3, 3);
  auto error = [&] { return attentionReference(spec, s.call, s.arrays()).error; };
  EXPECT_EQ(error(), "spec has 1 params; 0 are given");
  s.call.bindings.params = {7};
  EXPECT_NE(error().find("param `n` is 7"), std::string::npos);
  s.call.bindings.params = {2};
  EXPECT_EQ(error(), "spec has 1 tables; 0 are given");
  s.call.bindings.tables = {TableData{{2}, {1, 2, 3}}};
  EXPECT_EQ(error(), "table `t` does not have the declared shape");
  s.call.bindings.tables = {TableData{{2}, {1, 2}}};
  EXPECT_EQ(error(), "");
  s.call.segments = {{{1, 3, 0}}};
  EXPECT_EQ(error(), "a segment lies outside the 3 slots");
  s.call.segments = {{{0, 3, 0}}};
  s.call.kvHeads = 1;
  EXPECT_EQ(error(), "k has 48 elements; 24 are expected");
  s.call.heads = 3;
  s.call.kvHeads = 2;
  EXPECT_EQ(error(), "3 heads cannot share 2 KV heads");
}

} // namespace
} // namespace attn::oracle
