// Reads and writes NumPy's .npy files (format versions 1 to 3, C order). What
// is read from a file is checked before it is believed.
#pragma once

#include "runtime/base/aligned_memory.h"
#include "runtime/base/status.h"
#include "runtime/bundle/kernel_info.h"
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace attn {

struct NpyArray {
  ElementType type = ElementType::f32;
  std::vector<int64_t> shape;
  AlignedMemory data; // empty when an extent is 0

  int64_t count() const;
  // Element i, whatever the type.
  double number(size_t i) const;
  size_t bytes() const { return static_cast<size_t>(count()) * element_size(type); }
};

// Types: f4, f2, i1, i4, i8 as named; u1 and b1 as u8; u2 as bf16, which NumPy
// lacks (its 16-bit patterns).
Result<NpyArray> read_npy(const std::string &path);
Result<NpyArray> parse_npy(std::span<const std::byte> file);

// A zero-filled array. Fails when memory is exhausted.
Result<NpyArray> make_npy(ElementType type, std::vector<int64_t> shape);

Status write_npy(const std::string &path, ElementType type, std::span<const int64_t> shape,
                 const void *data);
// For types that tensors do not have: `descr` is NumPy's name, "|b1" or "<f8".
Status write_npy_as(const std::string &path, std::string_view descr, size_t element_bytes,
                    std::span<const int64_t> shape, const void *data);
inline Status write_npy(const std::string &path, const NpyArray &array) {
  return write_npy(path, array.type, array.shape, array.data.data());
}

} // namespace attn
