// Operators that move elements unchanged, and those that make index lists.
#include "runtime/graph/copy.h"
#include "runtime/ops/ops.h"
#include <cmath>
#include <cstring>

namespace attn::ops {

Status infer_copy(InferContext &c) {
  c.set({c.dtype(0), c.shape(0)});
  return {};
}

KernelResult make_copy(const MakeContext &) {
  return make_kernel([](const RunArgs &args) {
    graph::copy_tensor(*args.in[0], *args.out[0]);
    return Status();
  });
}

Status infer_concat(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the first part"));
  int axis;
  Shape out = c.shape(0);
  ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", 0), out.rank, axis));
  for (size_t i = 1; i < c.input_count(); ++i) {
    ATTN_RETURN_IF_ERROR(c.require(i, "a part"));
    Shape rest = c.shape(i);
    if (rest.rank == out.rank) {
      out[axis] += rest[axis];
      rest[axis] = out[axis];
    }
    if (!(rest == out) || c.dtype(i) != c.dtype(0))
      return Status::invalid_input("cannot join ", c.in(0)->type.text(), " and ",
                                   c.in(i)->type.text(), " along axis ", axis);
  }
  c.set({c.dtype(0), out});
  return {};
}

KernelResult make_concat(const MakeContext &c) {
  int axis;
  ATTN_RETURN_IF_ERROR(
      graph::resolve_axis(c.node.integer("axis", 0), c.outputs[0].shape.rank, axis));
  return make_kernel([axis, inputs = c.inputs.size()](const RunArgs &args) {
    Tensor part = *args.out[0];
    for (size_t i = 0; i < inputs; ++i) {
      const Tensor &from = *args.in[i];
      part.shape = from.shape;
      graph::copy_tensor(from, part);
      part.data = part.as<char>() + from.shape[axis] * part.strides[axis] *
                                        static_cast<int64_t>(graph::dtype_size(part.dtype));
    }
    return Status();
  });
}

Status infer_gather(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the data"));
  ATTN_RETURN_IF_ERROR(c.require(1, "the indices"));
  if (c.dtype(1) != DType::i64 && c.dtype(1) != DType::i32)
    return Status::invalid_input("has indices of ", dtype_name(c.dtype(1)));
  int axis;
  ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", 0), c.shape(0).rank, axis));
  if (c.shape(0).rank - 1 + c.shape(1).rank > graph::kMaxRank)
    return Status::invalid_input("makes a tensor of too high a rank");
  Shape out;
  for (int i = 0; i < axis; ++i)
    out.push(c.shape(0)[i]);
  for (int i = 0; i < c.shape(1).rank; ++i)
    out.push(c.shape(1)[i]);
  for (int i = axis + 1; i < c.shape(0).rank; ++i)
    out.push(c.shape(0)[i]);
  c.set({c.dtype(0), out});
  return {};
}

KernelResult make_gather(const MakeContext &c) {
  int axis;
  const Shape &data = c.inputs[0].shape;
  ATTN_RETURN_IF_ERROR(graph::resolve_axis(c.node.integer("axis", 0), data.rank, axis));
  int64_t outer = 1, inner = static_cast<int64_t>(graph::dtype_size(c.inputs[0].dtype));
  for (int i = 0; i < axis; ++i)
    outer *= data[i];
  for (int i = axis + 1; i < data.rank; ++i)
    inner *= data[i];
  int64_t size = data[axis], count = c.inputs[1].elements();
  bool wide = c.inputs[1].dtype == DType::i64;
  std::string label = c.node.label();
  return make_kernel([=](const RunArgs &args) {
    const char *from = args.in[0]->as<char>();
    char *to = args.out[0]->as<char>();
    for (int64_t o = 0; o < outer; ++o)
      for (int64_t i = 0; i < count; ++i) {
        int64_t at = wide ? args.in[1]->as<int64_t>()[i] : args.in[1]->as<int32_t>()[i];
        at += at < 0 ? size : 0;
        if (at < 0 || at >= size)
          return Status::invalid_input("index ", at, " is outside 0..", size - 1).at(label);
        std::memcpy(to, from + (o * size + at) * inner, static_cast<size_t>(inner));
        to += inner;
      }
    return Status();
  });
}

// ---- Pad ------------------------------------------------------------------------

// Elements before and after every axis.
static Status read_pads(const NodeView &c, Shape &before, Shape &after) {
  const int rank = c.shape(0).rank;
  for (int i = 0; i < rank; ++i) {
    before.push(0);
    after.push(0);
  }
  ATTN_RETURN_IF_ERROR(c.require(1, "the pads"));
  ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> pads, c.constant_integers(1));
  std::vector<int64_t> axes;
  if (c.has(3)) {
    ATTN_ASSIGN_OR_RETURN(axes, c.constant_integers(3));
  } else {
    for (int i = 0; i < rank; ++i)
      axes.push_back(i);
  }
  if (pads.size() != 2 * axes.size())
    return Status::invalid_input("has ", pads.size(), " pads for ", axes.size(), " axes");
  for (size_t i = 0; i < axes.size(); ++i) {
    int axis;
    ATTN_RETURN_IF_ERROR(graph::resolve_axis(axes[i], rank, axis));
    before[axis] = pads[i];
    after[axis] = pads[i + axes.size()];
    if (pads[i] < 0 || pads[i + axes.size()] < 0)
      return Status::invalid_input("has a negative pad, which is not run: use Slice");
  }
  return {};
}

Status infer_pad(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  if (c.node.text("mode", "constant") != "constant")
    return Status::invalid_input("has mode '", c.node.text("mode", ""), "'; constant is run");
  Shape before, after, out = c.shape(0);
  ATTN_RETURN_IF_ERROR(read_pads(c, before, after));
  for (int i = 0; i < out.rank; ++i)
    if (__builtin_add_overflow(out[i], before[i], &out[i]) ||
        __builtin_add_overflow(out[i], after[i], &out[i]))
      return Status::invalid_input("has pads that are too large");
  if (c.has(2) && (c.dtype(2) != c.dtype(0) || c.shape(2).elements() != 1))
    return Status::invalid_input("fills ", c.in(0)->type.text(), " with ", c.in(2)->type.text());
  c.set({c.dtype(0), out});
  return {};
}

KernelResult make_pad(const MakeContext &c) {
  Shape before, after;
  ATTN_RETURN_IF_ERROR(read_pads(c, before, after));
  return make_kernel([before, filled = c.has(2)](const RunArgs &args) {
    const Tensor &out = *args.out[0]; // dense
    const size_t size = graph::dtype_size(out.dtype);
    const uint64_t zero = 0;
    const void *value = filled ? args.in[2]->data : &zero;
    char *to = out.as<char>();
    for (int64_t i = 0; i < out.elements(); ++i, to += size)
      std::memcpy(to, value, size);
    Tensor inner = out;
    inner.shape = args.in[0]->shape;
    int64_t offset = 0;
    for (int i = 0; i < inner.shape.rank; ++i)
      offset += before[i] * out.strides[i];
    inner.data = out.as<char>() + offset * static_cast<int64_t>(size);
    graph::copy_tensor(*args.in[0], inner);
    return Status();
  });
}

// ---- Sizes and index lists -----------------------------------------------------

Status infer_shape(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
  if (c.node.op == "Size") {
    c.set({DType::i64, {}});
    return {};
  }
  int64_t rank = c.shape(0).rank, start = c.node.integer("start", 0),
          end = c.node.integer("end", rank);
  start = std::clamp<int64_t>(start < 0 ? start + rank : start, 0, rank);
  end = std::clamp<int64_t>(end < 0 ? end + rank : end, 0, rank);
  c.set({DType::i64, {std::max<int64_t>(end - start, 0)}});
  return {};
}

// The builder folds every Shape: sizes are static.
KernelResult make_shape(const MakeContext &) { return Status::internal("a shape was not folded"); }

Status infer_range(InferContext &c) {
  int64_t count;
  ATTN_RETURN_IF_ERROR(c.require(2, "the step"));
  if (c.dtype(0) == DType::f32) {
    float v[3];
    for (size_t i = 0; i < 3; ++i) {
      ATTN_RETURN_IF_ERROR(c.require_dtype(i, DType::f32));
      if (!c.in(i)->is_constant())
        return Status::invalid_input("has limits that are computed at run time");
      v[i] = *static_cast<const float *>(c.in(i)->data);
    }
    double n = std::ceil((double(v[1]) - v[0]) / v[2]);
    if (!(n < 1e9))
      return Status::invalid_input("has no finite length");
    count = static_cast<int64_t>(std::max(n, 0.0));
  } else {
    int64_t v[3];
    for (size_t i = 0; i < 3; ++i) {
      ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> one, c.constant_integers(i));
      if (one.size() != 1)
        return Status::invalid_input("has limits that are no scalars");
      v[i] = one[0];
    }
    double n = v[2] ? std::ceil((double(v[1]) - double(v[0])) / double(v[2])) : 1e9;
    if (!(n < 1e9))
      return Status::invalid_input("has no finite length");
    count = static_cast<int64_t>(std::max(n, 0.0));
  }
  c.set({c.dtype(0), {count}});
  return {};
}

template <typename T> static KernelResult make_range_of(const MakeContext &c) {
  int64_t n = c.outputs[0].elements();
  return make_kernel([n](const RunArgs &args) {
    T start = *args.in[0]->as<T>(), step = *args.in[2]->as<T>();
    for (int64_t i = 0; i < n; ++i)
      args.out[0]->as<T>()[i] = static_cast<T>(start + static_cast<T>(i) * step);
    return Status();
  });
}

KernelResult make_range(const MakeContext &c) {
  switch (c.outputs[0].dtype) {
  case DType::f32:
    return make_range_of<float>(c);
  case DType::i32:
    return make_range_of<int32_t>(c);
  case DType::i64:
    return make_range_of<int64_t>(c);
  default:
    return Status::invalid_input("is not run on ", dtype_name(c.outputs[0].dtype));
  }
}

Status infer_constant_of_shape(InferContext &c) {
  ATTN_ASSIGN_OR_RETURN(std::vector<int64_t> dims, c.constant_integers(0));
  if (dims.size() > graph::kMaxRank)
    return Status::invalid_input("makes a tensor of too high a rank");
  const onnx::Attribute *value = c.node.find("value");
  DType dtype = DType::f32;
  if (value) {
    ATTN_RETURN_IF_ERROR(graph::convert_type(value->tensor.type, dtype));
    if (value->tensor.data.size() < graph::dtype_size(dtype))
      return Status::invalid_input("has an empty value");
  }
  c.set({dtype, Shape(dims)});
  return {};
}

KernelResult make_constant_of_shape(const MakeContext &c) {
  const onnx::Attribute *value = c.node.find("value");
  size_t size = graph::dtype_size(c.outputs[0].dtype);
  uint64_t bits = 0;
  if (value)
    std::memcpy(&bits, value->tensor.data.data(), size);
  return make_kernel([=](const RunArgs &args) {
    char *to = args.out[0]->as<char>();
    for (int64_t i = 0; i < args.out[0]->elements(); ++i, to += size)
      std::memcpy(to, &bits, size);
    return Status();
  });
}

} // namespace attn::ops
