// Strided copies: dims that step alike in both tensors are walked as one, the
// innermost by memcpy where it is dense.
#include "runtime/graph/copy.h"

#include <cstring>

namespace attn::graph {

template <typename T>
static void copy_line(const T *from, int64_t from_step, T *to, int64_t to_step, int64_t n) {
  for (int64_t i = 0; i < n; ++i)
    to[i * to_step] = from[i * from_step];
}

static void copy_line(const char *from, int64_t from_step, char *to, int64_t to_step, int64_t n,
                      size_t size) {
  if (from_step == 1 && to_step == 1) {
    std::memcpy(to, from, static_cast<size_t>(n) * size);
    return;
  }
  switch (size) {
  case 1:
    copy_line(from, from_step, to, to_step, n);
    break;
  case 2:
    copy_line(reinterpret_cast<const uint16_t *>(from), from_step, reinterpret_cast<uint16_t *>(to),
              to_step, n);
    break;
  case 4:
    copy_line(reinterpret_cast<const uint32_t *>(from), from_step, reinterpret_cast<uint32_t *>(to),
              to_step, n);
    break;
  default:
    copy_line(reinterpret_cast<const uint64_t *>(from), from_step, reinterpret_cast<uint64_t *>(to),
              to_step, n);
  }
}

void copy_tensor(const Tensor &from, const Tensor &to) {
  if (from.elements() == 0)
    return;
  Shape size, a, b;
  for (int i = 0; i < from.shape.rank; ++i) {
    if (from.shape[i] == 1)
      continue;
    int last = size.rank - 1;
    if (last >= 0 && a[last] == from.strides[i] * from.shape[i] &&
        b[last] == to.strides[i] * to.shape[i]) {
      size[last] *= from.shape[i];
      a[last] = from.strides[i];
      b[last] = to.strides[i];
    } else {
      size.push(from.shape[i]);
      a.push(from.strides[i]);
      b.push(to.strides[i]);
    }
  }
  if (size.rank == 0) {
    size.push(1);
    a.push(1);
    b.push(1);
  }
  const size_t bytes = dtype_size(from.dtype);
  const int inner = size.rank - 1;
  const int64_t signed_bytes = static_cast<int64_t>(bytes);
  const char *source = static_cast<const char *>(from.data);
  char *target = static_cast<char *>(to.data);
  int64_t index[kMaxRank] = {};
  for (;;) {
    copy_line(source, a[inner], target, b[inner], size[inner], bytes);
    int d = inner - 1;
    for (; d >= 0; --d) {
      source += a[d] * signed_bytes;
      target += b[d] * signed_bytes;
      if (++index[d] < size[d])
        break;
      source -= a[d] * size[d] * signed_bytes;
      target -= b[d] * size[d] * signed_bytes;
      index[d] = 0;
    }
    if (d < 0)
      return;
  }
}

} // namespace attn::graph
