// Types of view operators and the strides that stand for them.
#include "runtime/graph/views.h"

#include <algorithm>
#include <limits>

namespace attn::graph {

bool broadcast_shapes(const Shape &a, const Shape &b, Shape &out) {
  int rank = std::max(a.rank, b.rank);
  out = Shape();
  for (int i = 0; i < rank; ++i) {
    int ia = i - (rank - a.rank), ib = i - (rank - b.rank);
    int64_t da = ia < 0 ? 1 : a[ia], db = ib < 0 ? 1 : b[ib];
    if (da != db && da != 1 && db != 1)
      return false;
    out.push(da == 1 ? db : da);
  }
  return true;
}

Shape broadcast_strides(const Shape &shape, const Tensor &t) {
  Shape s = shape;
  for (int i = 0; i < shape.rank; ++i) {
    int j = i - (shape.rank - t.shape.rank);
    s[i] = j < 0 || (t.shape[j] == 1 && shape[i] != 1) ? 0 : t.strides[j];
  }
  return s;
}

Status resolve_axis(int64_t axis, int rank, int &out) {
  if (axis < -rank || axis >= rank)
    return Status::invalid_input("axis ", axis, " is outside a tensor of rank ", rank);
  out = static_cast<int>(axis < 0 ? axis + rank : axis);
  return {};
}

int first_normalised_axis(const Node &node, int rank) {
  int axis = rank - 1;
  return resolve_axis(node.integer("axis", -1), rank, axis).ok() ? axis : rank - 1;
}

static Status set_reshaped(InferContext &c, const Shape &shape) {
  if (shape.elements() != c.shape(0).elements())
    return Status::invalid_input("cannot reshape ", c.shape(0).text(), " to ", shape.text());
  c.set({c.dtype(0), shape});
  return {};
}

static Status infer_squeeze(InferContext &c, bool add) {
  const Shape &in = c.shape(0);
  std::vector<int64_t> axes;
  if (c.has(1)) {
    ATTN_ASSIGN_OR_RETURN(axes, c.constant_integers(1));
  } else if (add) {
    return Status::invalid_input("has no axes");
  } else {
    for (int i = 0; i < in.rank; ++i)
      if (in[i] == 1)
        axes.push_back(i);
  }
  int rank = in.rank + (add ? static_cast<int>(axes.size()) : 0);
  if (rank > kMaxRank)
    return Status::invalid_input("makes a tensor of rank ", rank, "; at most ", kMaxRank);
  bool marked[kMaxRank] = {};
  for (int64_t a : axes) {
    int axis;
    ATTN_RETURN_IF_ERROR(resolve_axis(a, rank, axis));
    if (marked[axis])
      return Status::invalid_input("names axis ", a, " twice");
    if (!add && in[axis] != 1)
      return Status::invalid_input("cannot squeeze axis ", a, " of ", in.text());
    marked[axis] = true;
  }
  Shape out;
  for (int i = 0, j = 0; i < rank; ++i) {
    if (add)
      out.push(marked[i] ? 1 : in[j++]);
    else if (!marked[i])
      out.push(in[i]);
  }
  return set_reshaped(c, out);
}

Status infer_reshape(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  const Shape &in = c.shape(0);
  if (c.node.op == "Identity" || c.node.op == "Dropout")
    return set_reshaped(c, in);
  if (c.node.op == "Squeeze" || c.node.op == "Unsqueeze")
    return infer_squeeze(c, c.node.op == "Unsqueeze");
  if (c.node.op == "Flatten") {
    int64_t axis = c.node.integer("axis", 1), rows = 1;
    if (axis < 0)
      axis += in.rank;
    if (axis < 0 || axis > in.rank)
      return Status::invalid_input("axis ", axis, " is outside a tensor of rank ", in.rank);
    for (int i = 0; i < axis; ++i)
      rows *= in[i];
    return set_reshaped(c, {rows, rows ? in.elements() / rows : 0});
  }
  ATTN_RETURN_IF_ERROR(c.require(1, "the shape"));
  ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> wanted, c.constant_integers(1));
  if (wanted.size() > kMaxRank)
    return Status::invalid_input("makes a tensor of rank ", wanted.size(), "; at most ", kMaxRank);
  Shape out;
  int open = -1;
  int64_t known = 1;
  for (size_t i = 0; i < wanted.size(); ++i) {
    int64_t d = wanted[i];
    if (d == 0 && !c.node.integer("allowzero", 0)) {
      if (static_cast<int>(i) >= in.rank)
        return Status::invalid_input("copies dimension ", i, " of ", in.text());
      d = in[static_cast<int>(i)];
    }
    if (d < -1 || (d == -1 && open >= 0))
      return Status::invalid_input("has a shape with ", d < -1 ? "a negative size" : "two -1");
    if (d == -1)
      open = static_cast<int>(i);
    else if (__builtin_mul_overflow(known, d, &known))
      return Status::invalid_input("has a shape that is too large");
    out.push(d);
  }
  if (open >= 0) {
    if (known == 0 || in.elements() % known)
      return Status::invalid_input("cannot reshape ", in.text(), " to ", out.text());
    out[open] = in.elements() / known;
  }
  return set_reshaped(c, out);
}

Status infer_transpose(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  const Shape &in = c.shape(0);
  auto perm = c.node.integers("perm");
  if (!perm.empty() && static_cast<int>(perm.size()) != in.rank)
    return Status::invalid_input("permutes ", perm.size(), " axes of ", in.text());
  Shape out;
  bool seen[kMaxRank] = {};
  for (int i = 0; i < in.rank; ++i) {
    int64_t p = perm.empty() ? in.rank - 1 - i : perm[static_cast<size_t>(i)];
    if (p < 0 || p >= in.rank || seen[p])
      return Status::invalid_input("has a perm that is no permutation");
    seen[p] = true;
    out.push(in[static_cast<int>(p)]);
  }
  c.set({c.dtype(0), out});
  return {};
}

struct SliceAxis {
  int64_t start = 0, step = 1, count = 0;
};

static Status slice_axes(const NodeView &c, SliceAxis (&out)[kMaxRank]) {
  const Shape &in = c.shape(0);
  for (int i = 0; i < in.rank; ++i)
    out[i].count = in[i];
  ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> starts, c.constant_integers(1));
  ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> ends, c.constant_integers(2));
  std::vector<int64_t> axes, steps;
  if (c.has(3)) {
    ATTN_ASSIGN_OR_RETURN(axes, c.constant_integers(3));
  } else {
    for (size_t i = 0; i < starts.size(); ++i)
      axes.push_back(static_cast<int64_t>(i));
  }
  if (c.has(4)) {
    ATTN_ASSIGN_OR_RETURN(steps, c.constant_integers(4));
  } else {
    steps.assign(starts.size(), 1);
  }
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    return Status::invalid_input("has starts, ends, axes and steps of different lengths");
  for (size_t i = 0; i < starts.size(); ++i) {
    int axis;
    ATTN_RETURN_IF_ERROR(resolve_axis(axes[i], in.rank, axis));
    int64_t n = in[axis], step = steps[i];
    if (step == 0 || step == std::numeric_limits<int64_t>::min())
      return Status::invalid_input("has a step of ", step);
    auto clamp = [&](int64_t v, int64_t low, int64_t high) {
      return std::clamp(v < 0 ? v + n : v, low, high);
    };
    int64_t start = step > 0 ? clamp(starts[i], 0, n) : clamp(starts[i], 0, n - 1);
    int64_t end = step > 0 ? clamp(ends[i], 0, n) : clamp(ends[i], -1, n - 1);
    int64_t span = step > 0 ? end - start : start - end;
    int64_t stride = step > 0 ? step : -step;
    out[axis] = {start, step, span > 0 ? (span - 1) / stride + 1 : 0};
  }
  return {};
}

Status infer_slice(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  SliceAxis axes[kMaxRank];
  ATTN_RETURN_IF_ERROR(slice_axes(c, axes));
  Shape out;
  for (int i = 0; i < c.shape(0).rank; ++i)
    out.push(axes[i].count);
  c.set({c.dtype(0), out});
  return {};
}

static Status split_sizes(const NodeView &c, int &axis, std::vector<int64_t> &sizes) {
  ATTN_RETURN_IF_ERROR(resolve_axis(c.node.integer("axis", 0), c.shape(0).rank, axis));
  int64_t n = c.shape(0)[axis], parts = static_cast<int64_t>(c.node.outputs.size());
  if (c.has(1)) {
    ATTN_ASSIGN_OR_RETURN(sizes, c.constant_integers(1));
  } else {
    int64_t each = (n + parts - 1) / parts, left = n;
    for (int64_t i = 0; i < parts; ++i, left -= each)
      sizes.push_back(std::clamp<int64_t>(left, 0, each));
  }
  int64_t total = 0;
  for (int64_t s : sizes)
    total += s < 0 || s > n ? n + 1 : s;
  if (static_cast<int64_t>(sizes.size()) != parts || total != n)
    return Status::invalid_input("splits ", n, " elements into parts of other total size");
  return {};
}

Status infer_split(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  int axis;
  std::vector<int64_t> sizes;
  ATTN_RETURN_IF_ERROR(split_sizes(c, axis, sizes));
  c.outputs.clear();
  for (int64_t s : sizes) {
    Shape shape = c.shape(0);
    shape[axis] = s;
    c.outputs.push_back({c.dtype(0), shape});
  }
  return {};
}

Status infer_expand(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(1, "the shape"));
  ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> wanted, c.constant_integers(1));
  Shape out;
  if (wanted.size() > kMaxRank || !broadcast_shapes(c.shape(0), Shape(wanted), out))
    return Status::invalid_input("cannot expand ", c.shape(0).text(), " to ", Shape(wanted).text());
  c.set({c.dtype(0), out});
  return {};
}

static void advance(Tensor &t, int64_t elements) {
  if (t.data)
    t.data = static_cast<char *>(t.data) + elements * static_cast<int64_t>(dtype_size(t.dtype));
}

bool view_of(const NodeView &c, const Tensor &in, size_t index, Tensor &out) {
  const std::string &op = c.node.op;
  const Shape &shape = c.graph.values[c.node.outputs[index]].type.shape;
  out = in;
  out.shape = shape;
  if (op == "Transpose") {
    auto perm = c.node.integers("perm");
    for (int i = 0; i < shape.rank; ++i)
      out.strides[i] = in.strides[static_cast<int>(perm.empty() ? shape.rank - 1 - i
                                                                : perm[static_cast<size_t>(i)])];
    return true;
  }
  if (op == "Slice") {
    SliceAxis axes[kMaxRank];
    if (!slice_axes(c, axes).ok())
      return false;
    for (int i = 0; i < shape.rank; ++i) {
      if (shape.elements())
        advance(out, axes[i].start * in.strides[i]);
      out.strides[i] = in.strides[i] * axes[i].step;
    }
    return true;
  }
  if (op == "Split") {
    int axis;
    std::vector<int64_t> sizes;
    if (!split_sizes(c, axis, sizes).ok())
      return false;
    int64_t before = 0;
    for (size_t i = 0; i < index; ++i)
      before += sizes[i];
    advance(out, before * in.strides[axis]);
    return true;
  }
  if (op == "Expand") {
    out.strides = broadcast_strides(shape, in);
    return true;
  }
  return reshape_strides(in.shape, in.strides, shape, out.strides);
}

} // namespace attn::graph
