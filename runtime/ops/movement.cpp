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

Status infer_shape(InferContext &c) {
  ATTN_RETURN_IF_ERROR(c.require(0, "the input"));
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
    switch (value->tensor.type) {
    case onnx::DataType::f32:
      break;
    case onnx::DataType::i64:
      dtype = DType::i64;
      break;
    case onnx::DataType::i32:
      dtype = DType::i32;
      break;
    case onnx::DataType::boolean:
      dtype = DType::boolean;
      break;
    default:
      return Status::invalid_input("fills with ", onnx::data_type_name(value->tensor.type));
    }
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
