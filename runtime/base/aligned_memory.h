// An owned block of zero-filled memory, 64-byte aligned, and on 2 MiB
// boundaries with huge pages asked for once it is that large.
#pragma once

#include <cstddef>
#include <utility>

namespace attn {

class AlignedMemory {
public:
  AlignedMemory() = default;
  // Data is null when the memory cannot be had.
  explicit AlignedMemory(size_t bytes);
  ~AlignedMemory();
  AlignedMemory(AlignedMemory &&other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedMemory &operator=(AlignedMemory &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  void *data() const { return data_; }
  size_t size() const { return size_; }

private:
  void *data_ = nullptr;
  size_t size_ = 0;
};

} // namespace attn
