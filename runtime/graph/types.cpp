// Shapes as text, dense strides, and which reshapes need no copy.
#include "runtime/graph/types.h"

namespace attn::graph {

const char *dtype_name(DType t) {
  static const char *const names[] = {"float32", "float64", "float16", "bfloat16", "int8",
                                      "uint8",   "int16",   "uint16",  "int32",    "uint32",
                                      "int64",   "uint64",  "bool"};
  return names[static_cast<int>(t)];
}

std::string Shape::text() const {
  std::string s = "[";
  for (int i = 0; i < rank; ++i)
    s += (i ? ", " : "") + std::to_string(dims[i]);
  return s + "]";
}

std::string TensorType::text() const { return std::string(dtype_name(dtype)) + " " + shape.text(); }

Shape dense_strides(const Shape &shape) {
  Shape s = shape;
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    s[i] = step;
    step *= shape[i];
  }
  return s;
}

bool is_dense(const Shape &shape, const Shape &strides) {
  int64_t step = 1;
  for (int i = shape.rank - 1; i >= 0; --i) {
    if (shape[i] == 0)
      return true;
    if (shape[i] != 1 && strides[i] != step)
      return false;
    step *= shape[i];
  }
  return true;
}

bool reshape_strides(const Shape &from, const Shape &strides, const Shape &to, Shape &out) {
  if (is_dense(from, strides)) {
    out = dense_strides(to);
    return true;
  }
  // Runs of dims that step evenly act as one; each run must be cut anew by
  // whole dims of `to`.
  Shape run_size, run_stride;
  for (int i = 0; i < from.rank; ++i) {
    if (from[i] == 1)
      continue;
    int last = run_size.rank - 1;
    if (last >= 0 && run_stride[last] == strides[i] * from[i]) {
      run_size[last] *= from[i];
      run_stride[last] = strides[i];
    } else {
      run_size.push(from[i]);
      run_stride.push(strides[i]);
    }
  }
  out = to;
  int run = run_size.rank - 1;
  int64_t used = 1;
  for (int i = to.rank - 1; i >= 0; --i) {
    if (to[i] == 1) {
      out[i] = 1;
      continue;
    }
    if (run >= 0 && used == run_size[run]) {
      --run;
      used = 1;
    }
    if (run < 0 || run_size[run] % (used * to[i]))
      return false;
    out[i] = run_stride[run] * used;
    used *= to[i];
  }
  return true;
}

} // namespace attn::graph
