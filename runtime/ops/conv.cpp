// Conv in one to three spatial axes: patches are gathered into rows and multiplied by the
// packed weights, one group after another.
#include "runtime/ops/matmul.h"

#include "runtime/ops/ops.h"

namespace attn::ops {

namespace {

constexpr int kMostAxes = 3;

// The window that slides over the spatial axes.
struct Window {
  int axes = 0;
  int64_t group = 1, batch = 0, channels = 0, made = 0; // channels in and out
  int64_t in[kMostAxes] = {1, 1, 1}, out[kMostAxes] = {1, 1, 1}, kernel[kMostAxes] = {1, 1, 1};
  int64_t stride[kMostAxes] = {1, 1, 1}, dilation[kMostAxes] = {1, 1, 1}, before[kMostAxes] = {};

  int64_t area() const { return in[0] * in[1] * in[2]; } // of one channel
  int64_t positions() const { return out[0] * out[1] * out[2]; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t depth() const { return channels / group * taps(); } // of one product
};

// A list of one number per spatial axis, or of none: then all are `otherwise`.
Status axis_list(const NodeView &c, const char *name, int axes, int64_t least, int64_t otherwise,
                 int64_t *out) {
  auto given = c.node.integers(name);
  if (!given.empty() && given.size() != static_cast<size_t>(axes))
    return Status::invalid_input("has ", given.size(), " ", name, " for ", axes, " axes");
  for (int i = 0; i < axes; ++i) {
    out[i] = given.empty() ? otherwise : given[static_cast<size_t>(i)];
    if (out[i] < least || out[i] > INT32_MAX)
      return Status::invalid_input("has ", out[i], " among its ", name, "; ", least,
                                   " or more is allowed");
  }
  return {};
}

Status read_padding(const NodeView &c, Window &w, int64_t *after) {
  const std::string automatic = c.node.text("auto_pad", "NOTSET");
  auto pads = c.node.integers("pads");
  if (automatic != "NOTSET" && automatic != "VALID" && automatic != "SAME_UPPER" &&
      automatic != "SAME_LOWER")
    return Status::invalid_input("has auto_pad '", automatic,
                                 "'; NOTSET, VALID, SAME_UPPER and SAME_LOWER are defined");
  if (!pads.empty() && (automatic != "NOTSET" || pads.size() != 2 * static_cast<size_t>(w.axes)))
    return Status::invalid_input("has ", pads.size(), " pads for ", w.axes, " axes and auto_pad ",
                                 automatic);
  for (int i = 0; i < w.axes; ++i) {
    int64_t first = pads.empty() ? 0 : pads[static_cast<size_t>(i)];
    int64_t last = pads.empty() ? 0 : pads[static_cast<size_t>(i + w.axes)];
    if (automatic.starts_with("SAME")) {
      const int64_t made = (w.in[i] + w.stride[i] - 1) / w.stride[i];
      const int64_t total = std::max<int64_t>(
          (made - 1) * w.stride[i] + (w.kernel[i] - 1) * w.dilation[i] + 1 - w.in[i], 0);
      first = automatic == "SAME_UPPER" ? total / 2 : total - total / 2;
      last = total - first;
    }
    if (first < 0 || last < 0 || first > INT32_MAX || last > INT32_MAX)
      return Status::invalid_input("has negative or huge pads");
    w.before[i] = first;
    after[i] = last;
  }
  return {};
}

Status read_window(const NodeView &c, Window &w) {
  ATTN_RETURN_IF_ERROR(c.require_dtype(0, DType::f32));
  ATTN_RETURN_IF_ERROR(c.require_dtype(1, DType::f32));
  const Shape &x = c.shape(0), &f = c.shape(1);
  w.axes = x.rank - 2;
  if (w.axes < 1 || w.axes > kMostAxes || f.rank != x.rank)
    return Status::invalid_input("convolves ", x.text(), " with ", f.text(),
                                 "; one to three spatial axes are run");
  w.group = c.node.integer("group", 1);
  w.batch = x[0];
  w.channels = x[1];
  w.made = f[0];
  if (w.group < 1 || w.channels % w.group || w.made % w.group || f[1] != w.channels / w.group)
    return Status::invalid_input("has ", w.group, " groups for ", w.channels, " channels and ",
                                 f.text(), " weights");
  auto declared = c.node.integers("kernel_shape");
  for (int i = 0; i < w.axes; ++i) {
    w.in[i] = x[i + 2];
    w.kernel[i] = f[i + 2];
    if (w.kernel[i] < 1 || (!declared.empty() && (declared.size() != static_cast<size_t>(w.axes) ||
                                                  declared[static_cast<size_t>(i)] != w.kernel[i])))
      return Status::invalid_input("has a kernel_shape that is not that of its weights, ",
                                   f.text());
  }
  ATTN_RETURN_IF_ERROR(axis_list(c, "strides", w.axes, 1, 1, w.stride));
  ATTN_RETURN_IF_ERROR(axis_list(c, "dilations", w.axes, 1, 1, w.dilation));
  int64_t after[kMostAxes] = {};
  ATTN_RETURN_IF_ERROR(read_padding(c, w, after));
  for (int i = 0; i < w.axes; ++i) {
    const int64_t room = w.in[i] + w.before[i] + after[i] - (w.kernel[i] - 1) * w.dilation[i] - 1;
    if (room < 0)
      return Status::invalid_input("slides a window of ", (w.kernel[i] - 1) * w.dilation[i] + 1,
                                   " over ", w.in[i] + w.before[i] + after[i], " elements");
    w.out[i] = room / w.stride[i] + 1;
  }
  if (c.has(2)) {
    ATTN_RETURN_IF_ERROR(c.require_dtype(2, DType::f32));
    if (c.shape(2).elements() != w.made)
      return Status::invalid_input("has a bias of ", c.shape(2).text(), " for ", w.made,
                                   " channels");
  }
  return {};
}

// The patch of one output position, `depth` numbers: channel by channel, tap by tap.
void gather_patch(const Window &w, const float *x, int64_t position, float *to) {
  int64_t at[kMostAxes];
  for (int i = kMostAxes - 1; i >= 0; --i) {
    at[i] = position % w.out[i] * w.stride[i] - w.before[i];
    position /= w.out[i];
  }
  for (int64_t channel = 0; channel < w.channels / w.group; ++channel, x += w.area())
    for (int64_t a = 0; a < w.kernel[0]; ++a)
      for (int64_t b = 0; b < w.kernel[1]; ++b)
        for (int64_t d = 0; d < w.kernel[2]; ++d) {
          const int64_t p = at[0] + a * w.dilation[0], q = at[1] + b * w.dilation[1],
                        r = at[2] + d * w.dilation[2];
          const bool inside =
              p >= 0 && p < w.in[0] && q >= 0 && q < w.in[1] && r >= 0 && r < w.in[2];
          *to++ = inside ? x[(p * w.in[1] + q) * w.in[2] + r] : 0;
        }
}

// As many positions at a time as keep the patches near.
int64_t positions_at_once(const Window &w) {
  return std::clamp<int64_t>((int64_t(1) << 16) / std::max<int64_t>(w.depth(), 1), 16, 4096);
}

class Convolution final : public OpKernel {
public:
  Convolution(const Window &w, const MakeContext &c)
      : w_(w), weights_(static_cast<size_t>(w.group)), has_bias_(c.has(2)),
        constant_(c.in(1)->is_constant() && (!has_bias_ || c.in(2)->is_constant())) {}

  // Room for everything, and weights that never change in their panels.
  Status prepare(const MakeContext &c) {
    const int64_t each = w_.made / w_.group, panels = (each + nr_ - 1) / nr_;
    for (PackedWeight &weight : weights_) {
      weight.k = w_.depth();
      weight.n = each;
      weight.panels = panels;
      weight.data = AlignedMemory(static_cast<size_t>(panels * w_.depth() * nr_) * sizeof(float));
      weight.bias = AlignedMemory(static_cast<size_t>(panels * nr_) * sizeof(float));
      if (!weight.data.data() || !weight.bias.data())
        return Status::environment("no memory for packed weights");
    }
    if (constant_)
      pack(c.inputs[1].as<float>(), has_bias_ ? c.inputs[2].as<float>() : nullptr);
    const int64_t rows = positions_at_once(w_);
    patches_ = AlignedMemory(static_cast<size_t>(rows * w_.depth()) * sizeof(float));
    results_ = AlignedMemory(static_cast<size_t>(rows * w_.made / w_.group) * sizeof(float));
    if (!patches_.data() || !results_.data())
      return Status::environment("no memory for patches of ", w_.depth(), " numbers");
    return {};
  }

  Status run(const RunArgs &args) override {
    if (!constant_)
      pack(args.in[1]->as<float>(), has_bias_ ? args.in[2]->as<float>() : nullptr);
    const int64_t each = w_.made / w_.group, positions = w_.positions();
    auto *patches = static_cast<float *>(patches_.data());
    auto *results = static_cast<float *>(results_.data());
    for (int64_t b = 0; b < w_.batch; ++b)
      for (int64_t g = 0; g < w_.group; ++g) {
        const float *x =
            args.in[0]->as<float>() + (b * w_.channels + g * (w_.channels / w_.group)) * w_.area();
        float *y = args.out[0]->as<float>() + (b * w_.made + g * each) * positions;
        for (int64_t first = 0; first < positions; first += positions_at_once(w_)) {
          const int64_t rows = std::min(positions_at_once(w_), positions - first);
          for_rows(args.pool, rows, rows * w_.depth(), [&](int64_t begin, int64_t end) {
            for (int64_t r = begin; r < end; ++r)
              gather_patch(w_, x, first + r, patches + r * w_.depth());
          });
          Product product{&weights_[static_cast<size_t>(g)], results};
          ATTN_RETURN_IF_ERROR(run_products(args.pool, patches, rows, &product, 1));
          for_rows(args.pool, each, rows * each, [&](int64_t begin, int64_t end) {
            for (int64_t m = begin; m < end; ++m)
              for (int64_t r = 0; r < rows; ++r)
                y[m * positions + first + r] = results[r * each + m];
          });
        }
      }
    return {};
  }

private:
  // A group's weights as the right side of a product: depth rows by channels out.
  void pack(const float *weights, const float *bias) {
    const int64_t each = w_.made / w_.group;
    for (size_t g = 0; g < weights_.size(); ++g) {
      PackedWeight &to = weights_[g];
      const int64_t first = static_cast<int64_t>(g) * each;
      pack_panels({weights + first * w_.depth(), DType::f32, 1, w_.depth()}, w_.depth(), each, 1.0f,
                  nr_, 0, to.panels, static_cast<float *>(to.data.data()));
      if (bias)
        std::copy_n(bias + first, each, static_cast<float *>(to.bias.data()));
    }
  }

  Window w_;
  std::vector<PackedWeight> weights_;
  AlignedMemory patches_, results_;
  const int nr_ = isa().nr;
  bool has_bias_, constant_;
};

} // namespace

Status infer_conv(InferContext &c) {
  Window w;
  ATTN_RETURN_IF_ERROR(read_window(c, w));
  Shape out{w.batch, w.made};
  for (int i = 0; i < w.axes; ++i)
    out.push(w.out[i]);
  c.set({DType::f32, out});
  return {};
}

KernelResult make_conv(const MakeContext &c) {
  Window w;
  ATTN_RETURN_IF_ERROR(read_window(c, w));
  auto made = std::make_unique<Convolution>(w, c);
  ATTN_RETURN_IF_ERROR(made->prepare(c));
  return KernelResult(std::move(made));
}

} // namespace attn::ops
