// Conv against its definition, written as loops over output and window.
#include "tests/graph/graph_fixture.h"
#include <cmath>

using namespace attn;
using namespace attn::test;
using Floats = std::vector<float>;
using Dims = std::vector<int64_t>;

namespace {

struct Case {
  const char *name;
  Dims x, f; // shapes
  Dims strides = {}, pads = {}, dilations = {};
  int64_t group = 1;
  const char *auto_pad = nullptr;
  Dims pads_meant = {}; // what auto_pad stands for
};

int64_t count(const Dims &d) {
  int64_t n = 1;
  for (int64_t v : d)
    n *= v;
  return n;
}

// Everything as three spatial axes.
Floats convolve(const Case &c, const Floats &x, const Floats &f, const Floats &bias) {
  const size_t axes = c.x.size() - 2;
  const Dims &given = c.auto_pad ? c.pads_meant : c.pads;
  int64_t in[3] = {1, 1, 1}, kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, dilation[3] = {1, 1, 1},
          before[3] = {}, out[3] = {1, 1, 1};
  for (size_t i = 0; i < axes; ++i) {
    in[i] = c.x[i + 2];
    kernel[i] = c.f[i + 2];
    stride[i] = c.strides.empty() ? 1 : c.strides[i];
    dilation[i] = c.dilations.empty() ? 1 : c.dilations[i];
    before[i] = given.empty() ? 0 : given[i];
    const int64_t after = given.empty() ? 0 : given[i + axes];
    out[i] = (in[i] + before[i] + after - (kernel[i] - 1) * dilation[i] - 1) / stride[i] + 1;
  }
  const int64_t channels = c.x[1] / c.group, each = c.f[0] / c.group;
  Floats y;
  for (int64_t b = 0; b < c.x[0]; ++b)
    for (int64_t m = 0; m < c.f[0]; ++m)
      for (int64_t p = 0; p < out[0] * out[1] * out[2]; ++p) {
        const int64_t at[3] = {p / out[2] / out[1], p / out[2] % out[1], p % out[2]};
        double sum = bias[static_cast<size_t>(m)];
        for (int64_t ch = 0; ch < channels; ++ch)
          for (int64_t t = 0; t < kernel[0] * kernel[1] * kernel[2]; ++t) {
            const int64_t tap[3] = {t / kernel[2] / kernel[1], t / kernel[2] % kernel[1],
                                    t % kernel[2]};
            int64_t place = b * c.x[1] + m / each * channels + ch;
            bool inside = true;
            for (int i = 0; i < 3; ++i) {
              const int64_t v = at[i] * stride[i] - before[i] + tap[i] * dilation[i];
              inside &= v >= 0 && v < in[i];
              place = place * in[i] + v;
            }
            if (inside)
              sum += double(x[static_cast<size_t>(place)]) *
                     f[static_cast<size_t>((m * channels + ch) * kernel[0] * kernel[1] * kernel[2] +
                                           t)];
          }
        y.push_back(float(sum));
      }
  return y;
}

const Case cases[] = {
    {"a line", {2, 3, 11}, {5, 3, 4}, {2}, {1, 2}},
    {"one tap", {1, 7, 5, 3}, {33, 7, 1, 1}},
    {"a plane, uneven pads, dilated", {1, 4, 9, 8}, {6, 4, 3, 2}, {2, 1}, {0, 1, 2, 3}, {2, 3}},
    {"groups", {2, 6, 5, 5}, {9, 2, 3, 3}, {}, {1, 1, 1, 1}, {}, 3},
    {"depthwise", {1, 5, 6, 4}, {5, 1, 3, 3}, {}, {1, 1, 1, 1}, {}, 5},
    {"patches of a video", {1, 16, 3, 6, 10}, {48, 16, 1, 2, 2}, {1, 2, 2}},
    {"a volume", {1, 2, 4, 5, 6}, {3, 2, 3, 2, 2}, {2, 1, 3}, {1, 0, 1, 1, 1, 0}},
    {"more positions than are done at once", {1, 40, 90, 70}, {4, 40, 5, 5}, {}, {2, 2, 2, 2}},
    {"same, upper", {1, 2, 6, 6}, {2, 2, 3, 4}, {2, 2}, {}, {}, 1, "SAME_UPPER", {0, 1, 1, 1}},
    {"same, lower", {1, 2, 6, 6}, {2, 2, 3, 4}, {2, 2}, {}, {}, 1, "SAME_LOWER", {1, 1, 0, 1}},
    {"valid", {1, 2, 6, 6}, {2, 2, 3, 4}, {}, {}, {}, 1, "VALID", {0, 0, 0, 0}},
};

std::vector<Attr> attributes(const Case &c) {
  std::vector<Attr> all = {attr("group", c.group)};
  if (!c.strides.empty())
    all.push_back(attr("strides", c.strides));
  if (!c.pads.empty())
    all.push_back(attr("pads", c.pads));
  if (!c.dilations.empty())
    all.push_back(attr("dilations", c.dilations));
  if (c.auto_pad)
    all.push_back(attr("auto_pad", c.auto_pad));
  return all;
}

} // namespace

TEST(Conv, EqualsItsDefinition) {
  for (const Case &c : cases)
    for (bool constant : {true, false}) {
      SCOPED_TRACE(std::string(c.name) + (constant ? "" : ", weights given at run time"));
      Floats x = random_floats(size_t(count(c.x)), 1), f = random_floats(size_t(count(c.f)), 2),
             bias = random_floats(size_t(c.f[0]), 3);
      for (float &v : f) // sums of about one
        v /= std::sqrt(float(count(c.f) / c.f[0]));
      OnnxBuilder b;
      b.input("x", kF32, c.x);
      if (constant)
        b.constant<float>("f", c.f, f).constant<float>("b", {c.f[0]}, bias);
      else
        b.input("f", kF32, c.f).input("b", kF32, {c.f[0]});
      b.node("Conv", {"x", "f", "b"}, {"y"}, attributes(c)).output("y");
      Runner r(b);
      ASSERT_TRUE(r.status().ok()) << r.status().to_string();
      r.set("x", x);
      if (!constant)
        r.set("f", f).set("b", bias);
      r.run();
      expect_near(r.get("y"), convolve(c, x, f, bias), 1e-5f);
    }
}

TEST(Conv, ReadsTransposedInputWithoutABias) {
  OnnxBuilder b; // as a stream's sample: frames before channels
  b.input("x", kF32, {1, 3, 4, 6, 4});
  Floats x = random_floats(288, 1), f = random_floats(8 * 4 * 4, 2), turned;
  b.constant<float>("f", {8, 4, 1, 2, 2}, f);
  b.node("Transpose", {"x"}, {"t"}, {attr("perm", Dims{0, 2, 1, 3, 4})});
  b.node("Conv", {"t", "f"}, {"y"}, {attr("strides", Dims{1, 2, 2})}).output("y");
  Runner r(b);
  ASSERT_TRUE(r.status().ok()) << r.status().to_string();
  for (size_t channel = 0; channel < 4; ++channel)
    for (size_t frame = 0; frame < 3; ++frame)
      for (size_t i = 0; i < 24; ++i)
        turned.push_back(x[(frame * 4 + channel) * 24 + i]);
  const Case c = {"", {1, 4, 3, 6, 4}, {8, 4, 1, 2, 2}, {1, 2, 2}};
  expect_near(r.set("x", x).run().get("y"), convolve(c, turned, f, Floats(8, 0.0f)), 1e-5f);
}

TEST(Conv, RefusesWhatDoesNotFit) {
  struct Wrong {
    Dims x, f;
    std::vector<Attr> attributes;
    const char *words;
  };
  const Wrong wrong[] = {
      {{1, 4, 5}, {2, 3, 3}, {}, "has 1 groups for 4 channels"},
      {{1, 4, 5}, {3, 2, 3}, {attr("group", 2)}, "has 2 groups for 4 channels"},
      {{1, 4}, {2, 4}, {}, "one to three spatial axes are run"},
      {{1, 1, 2, 2, 2, 2}, {1, 1, 1, 1, 1, 1}, {}, "one to three spatial axes are run"},
      {{1, 1, 3}, {1, 1, 4}, {}, "slides a window of 4 over 3 elements"},
      {{1, 1, 3}, {1, 1, 2}, {attr("strides", Dims{0})}, "has 0 among its strides"},
      {{1, 1, 3}, {1, 1, 2}, {attr("strides", Dims{1, 1})}, "has 2 strides for 1 axes"},
      {{1, 1, 3}, {1, 1, 2}, {attr("pads", Dims{1})}, "has 1 pads for 1 axes"},
      {{1, 1, 3}, {1, 1, 2}, {attr("pads", Dims{-1, 0})}, "negative or huge pads"},
      {{1, 1, 3}, {1, 1, 2}, {attr("auto_pad", "FULL")}, "has auto_pad 'FULL'"},
      {{1, 1, 3}, {1, 1, 2}, {attr("kernel_shape", Dims{3})}, "has a kernel_shape that is not"},
  };
  for (const Wrong &w : wrong) {
    OnnxBuilder b;
    b.input("x", kF32, w.x).input("f", kF32, w.f);
    b.node("Conv", {"x", "f"}, {"y"}, w.attributes).output("y");
    Runner r(b);
    ASSERT_FALSE(r.status().ok()) << w.words;
    EXPECT_NE(r.status().to_string().find(w.words), std::string::npos) << r.status().to_string();
  }
}
