// Named patterns against the published definitions, pair by pair. The
// definitions are written here from the literature, not from specs/std.
#include "tests/oracle/support.h"

#include <functional>

namespace attn::oracle {
namespace {

using Mask = std::function<bool(int, int)>;

// All keys of every `step`-th row.
void expectMask(const spec::AttentionSpec &spec, int queries, int keys, const Mask &expected,
                Bindings bindings = {}, int step = 1) {
  ASSERT_TRUE(spec.mask);
  Evaluator evaluator(bindings);
  int wrong = 0;
  Point point;
  for (int q = 0; q < queries; q += step)
    for (int k = 0; k < keys; ++k) {
      point.queryPosition = q;
      point.keyPosition = k;
      if (evaluator.truth(*spec.mask, point) != expected(q, k) && wrong++ == 0)
        ADD_FAILURE() << "first wrong pair: q " << q << " k " << k << ", expected "
                      << expected(q, k);
    }
  EXPECT_EQ(wrong, 0);
}

TEST(PublishedMasks, causal) {
  expectMask(tokens("i: stream", "  mask causal(i)"), 37, 41, [](int q, int k) { return q >= k; });
}

// attention-gym: q - k <= w and q >= k sees w + 1 keys; window(i, w + 1) here.
TEST(PublishedMasks, slidingWindow) {
  for (int w : {0, 1, 5, 36})
    expectMask(tokens("i: stream", "  mask causal(i) and window(i, " + std::to_string(w + 1) + ")"),
               37, 41, [=](int q, int k) { return q - k <= w && q >= k; });
}

TEST(PublishedMasks, slidingWindowByParameter) {
  auto spec = tokens("i: stream", "  param w in 1..64\n  mask causal(i) and window(i, w)");
  Bindings bindings;
  bindings.params = {6};
  expectMask(
      spec, 37, 37, [](int q, int k) { return q - k < 6 && q >= k; }, bindings);
}

// FlashAttention's two-sided window.
TEST(PublishedMasks, twoSidedWindow) {
  expectMask(tokens("i: stream", "  mask band(i, 4, 2)"), 33, 33,
             [](int q, int k) { return k >= q - 4 && k <= q + 2; });
}

TEST(PublishedMasks, prefixLm) {
  expectMask(tokens("i: stream", "  mask prefix_lm(i, 11)"), 37, 37,
             [](int q, int k) { return k < 11 || q >= k; });
}

TEST(PublishedMasks, sinkAndWindow) {
  expectMask(tokens("i: stream", "  mask causal(i) and (sink(i, 4) or window(i, 8))"), 40, 40,
             [](int q, int k) { return k <= q && (k < 4 || q - k < 8); });
}

TEST(PublishedMasks, dilated) {
  expectMask(tokens("i: stream", "  mask dilated(i, 9, 3)"), 40, 40,
             [](int q, int k) { return std::abs(q - k) <= 9 && std::abs(q - k) % 3 == 0; });
  // FlashAttention-4's dilated causal: 0 <= q - k < 256 and even.
  expectMask(tokens("i: stream", "  mask causal_dilated(i, 16, 2)"), 40, 40,
             [](int q, int k) { return q - k >= 0 && q - k < 16 && (q - k) % 2 == 0; });
}

TEST(PublishedMasks, blockDiagonalAndChunks) {
  expectMask(tokens("i: stream", "  mask chunked(i, 8)"), 40, 40,
             [](int q, int k) { return q / 8 == k / 8; });
  expectMask(tokens("i: stream", "  mask block_causal(i, 8)"), 40, 40,
             [](int q, int k) { return k < (q / 8 + 1) * 8; });
}

TEST(PublishedMasks, frameCausal) {
  const int frame = 3 * 5;
  expectMask(tokens("t: stream, y: 3, x: 5", "  mask causal(t)"), 4 * frame, 4 * frame,
             [=](int q, int k) { return k < (q / frame + 1) * frame; });
}

// LongLive: blocks of 3 frames; the first block, and the newest three.
TEST(PublishedMasks, longlive) {
  const int block = 3 * 2 * 2;
  auto spec = tokens("t: stream, y: 2, x: 2", "  axis b = tok.t // 3\n"
                                              "  mask causal(b) and (sink(b, 1) or window(b, 3))");
  expectMask(spec, 7 * block, 7 * block, [=](int q, int k) {
    int bq = q / block, bk = k / block;
    return bk <= bq && (bk == 0 || bq - bk <= 2);
  });
}

TEST(PublishedMasks, documents) {
  const std::vector<int> offsets{0, 7, 8, 21, 30};
  auto documentOf = [&](int i) {
    int d = 0;
    while (offsets[size_t(d) + 1] <= i)
      ++d;
    return d;
  };
  auto spec = tokens("doc: packed, i: ragged <= 64", "  mask same(doc) and causal(i)");
  Bindings bindings;
  TableData document{{30}, {}}, start{{30}, {}};
  for (int i = 0; i < 30; ++i) {
    document.values.push_back(documentOf(i));
    start.values.push_back(offsets[size_t(documentOf(i))]);
  }
  bindings.tables = {document, start};
  expectMask(
      spec, 30, 30,
      [&](int q, int k) {
        int d = documentOf(q);
        return d == documentOf(k) && q - offsets[size_t(d)] >= k - offsets[size_t(d)];
      },
      bindings);
}

// NATTEN's reference: per axis, written from its definition.
struct Natten {
  int length, window, stride, dilation;
  bool causal;
  bool operator()(int x, int y) const {
    int group = x % dilation;
    if (y % dilation != group)
      return false;
    int xi = x / dilation, yi = y / dilation;
    int rows = length / dilation + (group < length % dilation ? 1 : 0);
    if (causal) {
      int leader = std::min((xi / stride) * stride + stride - 1, rows - 1);
      return yi <= xi && leader - yi < window;
    }
    int leader = std::min((xi / stride) * stride + stride / 2, rows - 1);
    int left = window / 2, right = window / 2 + (window % 2 - 1);
    int centre = std::min(std::max(leader, left), rows - 1 - right);
    return yi >= centre - left && yi <= centre + right;
  }
};

std::string call(const std::string &axis, const Natten &n) {
  return std::string(n.causal ? "causal_" : "") + "neighborhood(" + axis + ": " +
         std::to_string(n.window) + " stride " + std::to_string(n.stride) + " dilation " +
         std::to_string(n.dilation) + ")";
}

TEST(PublishedMasks, natten1dSweep) {
  int cases = 0;
  for (int length : {4, 7, 12})
    for (int dilation : {1, 2, 3})
      for (int window = 1; window * dilation <= length; ++window)
        for (int stride = 1; stride <= window; ++stride)
          for (bool causal : {false, true}) {
            Natten n{length, window, stride, dilation, causal};
            expectMask(tokens("x: " + std::to_string(length), "  mask " + call("x", n)), length,
                       length, n);
            ++cases;
          }
  EXPECT_GT(cases, 100);
}

TEST(PublishedMasks, natten2d) {
  const int h = 9, w = 14;
  Natten y{h, 5, 2, 1, false}, x{w, 4, 3, 3, false};
  expectMask(tokens("y: 9, x: 14", "  mask " + call("y", y) + " and " + call("x", x)), h * w, h * w,
             [&](int q, int k) { return y(q / w, k / w) && x(q % w, k % w); });
}

TEST(PublishedMasks, natten3dWithText) {
  const int t = 6, h = 7, w = 14, text = 5;
  auto spec = specOf("attention a {\n  param T in 5..64, H in 7..256, W in 14..256\n"
                     "  space text(i: ragged <= 512)\n  space video(t: T, y: H, x: W)\n"
                     "  tokens seq = text ++ video\n  query seq\n  keys seq\n  heads 1 dim 8\n"
                     "  mask case {\n"
                     "    video -> video: neighborhood(t: 5, y: 7 stride 2, x: 7 dilation 2)\n"
                     "    video -> text: all\n    text -> seq: all\n  }\n}\n");
  Natten nt{t, 5, 1, 1, false}, ny{h, 7, 2, 1, false}, nx{w, 7, 1, 2, false};
  Bindings bindings;
  bindings.params = {t, h, w, text};
  const int total = text + t * h * w;
  int wrong = 0;
  for (int q = 0; q < total; q += 7) // the rows of a seventh cover every border
    for (int k = 0; k < total; ++k) {
      bool expected = true;
      if (q >= text && k >= text) {
        int a = q - text, b = k - text;
        expected = nt(a / (h * w), b / (h * w)) && ny(a / w % h, b / w % h) && nx(a % w, b % w);
      }
      wrong += maskAt(spec, bindings, 0, 0, q, k) != expected;
    }
  EXPECT_EQ(wrong, 0);
}

// An axis window that stays centred: HaloNet-like borders without clamping.
TEST(PublishedMasks, neighborhoodCutAtTheEdge) {
  expectMask(tokens("x: 12", "  mask neighborhood(x, 5, edge cut)"), 12, 12,
             [](int q, int k) { return std::abs(q - k) <= 2; });
}

int bits(int x) {
  int n = 0;
  for (; x > 0; x >>= 1)
    ++n;
  return n;
}

TEST(PublishedMasks, radial) {
  for (int side : {4, 16}) // D falls below the block size, or not at once
    for (int block : {8, 128}) {
      const int frame = side * side, frames = frame > 100 ? 5 : 20;
      auto spec = tokens("t: 32, y: " + std::to_string(side) + ", x: " + std::to_string(side),
                         "  axis p = tok.y * " + std::to_string(side) + " + tok.x\n" +
                             "  mask radial(t, p, " + std::to_string(frame) + ", 0.25, " +
                             std::to_string(block) + ")");
      expectMask(
          spec, frames * frame, frames * frame,
          [=](int q, int k) {
            int d = std::abs(q / frame - k / frame);
            int place = std::abs(q % frame - k % frame);
            int exponent = bits(frame) - bits(d);
            double width = std::pow(2.0, exponent);
            bool nearBy = d <= 1 || place <= std::max(width * 0.25, double(block));
            if (width >= block)
              return nearBy;
            return nearBy && d % int(block / width) == 0;
          },
          {}, frame > 100 ? 61 : 7);
    }
}

// Rules over heads and tables.
TEST(PublishedMasks, perHeadWindows) {
  auto spec =
      tokens("i: stream", "  table span[head]: i32\n  mask causal(i) and window(i, span[head])");
  Bindings bindings;
  bindings.tables = {TableData{{3}, {1, 4, 9}}};
  const int spans[] = {1, 4, 9};
  for (int head = 0; head < 3; ++head)
    for (int q = 0; q < 20; ++q)
      for (int k = 0; k < 20; ++k)
        EXPECT_EQ(maskAt(spec, bindings, 0, head, q, k), k <= q && q - k < spans[head]);
}

TEST(PublishedMasks, blockDiffusion) {
  const int half = 12, length = 3; // first half noised, second clean
  auto spec =
      tokens("c: 2, i: 12", "  axis b = tok.i // 3\n"
                            "  mask same(b) and same(c) or q.b > k.b and q.c == 0 and k.c == 1 or "
                            "q.b >= k.b and q.c == 1 and k.c == 1");
  expectMask(spec, 24, 24, [=](int q, int k) {
    bool noisyQ = q < half, noisyK = k < half;
    int bq = (q % half) / length, bk = (k % half) / length;
    return (bq == bk && noisyQ == noisyK) || (bq > bk && noisyQ && !noisyK) ||
           (bq >= bk && !noisyQ && !noisyK);
  });
}

} // namespace
} // namespace attn::oracle
