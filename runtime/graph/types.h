// Element types, shapes and strided tensors of the graph. A Tensor is a view:
// it never owns its memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

namespace attn::graph {

enum class DType : uint8_t { f32, f64, f16, bf16, i8, u8, i16, u16, i32, u32, i64, u64, boolean };

inline size_t dtype_size(DType t) {
  switch (t) {
  case DType::i8:
  case DType::u8:
  case DType::boolean:
    return 1;
  case DType::f16:
  case DType::bf16:
  case DType::i16:
  case DType::u16:
    return 2;
  case DType::f32:
  case DType::i32:
  case DType::u32:
    return 4;
  default:
    return 8;
  }
}
const char *dtype_name(DType t);

inline constexpr int kMaxRank = 8;

// A short list of extents or strides.
struct Shape {
  int rank = 0;
  int64_t dims[kMaxRank] = {};

  Shape() = default;
  Shape(std::initializer_list<int64_t> list) {
    for (int64_t d : list)
      push(d);
  }
  explicit Shape(std::span<const int64_t> list) {
    for (int64_t d : list)
      push(d);
  }
  // Callers keep within kMaxRank; what exceeds it is dropped, never written.
  void push(int64_t d) {
    if (rank < kMaxRank)
      dims[rank++] = d;
  }
  int64_t operator[](int i) const { return dims[i]; }
  int64_t &operator[](int i) { return dims[i]; }
  int64_t back() const { return rank ? dims[rank - 1] : 1; }
  int64_t elements() const {
    int64_t n = 1;
    for (int i = 0; i < rank; ++i)
      n *= dims[i];
    return n;
  }
  bool operator==(const Shape &o) const {
    if (rank != o.rank)
      return false;
    for (int i = 0; i < rank; ++i)
      if (dims[i] != o.dims[i])
        return false;
    return true;
  }
  std::string text() const; // "[1, 36, 192]"
};

// Strides of a dense row-major tensor, in elements.
Shape dense_strides(const Shape &shape);

// Whether the strides walk the elements in dense order (extents of 1 aside).
bool is_dense(const Shape &shape, const Shape &strides);

// Strides with which `to` names the same elements in the same order, if there
// are any: what makes a reshape free.
bool reshape_strides(const Shape &from, const Shape &strides, const Shape &to, Shape &out);

struct TensorType {
  DType dtype = DType::f32;
  Shape shape;
  int64_t elements() const { return shape.elements(); }
  size_t bytes() const { return static_cast<size_t>(shape.elements()) * dtype_size(dtype); }
  std::string text() const; // "float32 [1, 36, 192]"
};

struct Tensor {
  void *data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  Shape strides; // in elements; 0 where broadcast
  // What changed since a reader last looked. Caches count the writes of every row
  // of axis 2; remembered results have a number that names their content. Null
  // and 0 where nobody keeps count.
  uint64_t *row_writes = nullptr;
  uint64_t content = 0;

  template <typename T> T *as() const { return static_cast<T *>(data); }
  int64_t elements() const { return shape.elements(); }
  void count_writes(int64_t first_row, int64_t rows) const {
    if (row_writes)
      for (int64_t r = first_row; r < first_row + rows; ++r)
        ++row_writes[r];
  }
};

} // namespace attn::graph
