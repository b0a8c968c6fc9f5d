// Memory that ends at a page which must not be touched, so that a kernel which
// reads or writes past its last element crashes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <utility>

class GuardedBuffer {
public:
  GuardedBuffer() = default;
  // `bytes` bytes of 0xff: a NaN in every float format.
  explicit GuardedBuffer(size_t bytes) : bytes_(bytes) {
    size_t page = 4096, body = (bytes + page - 1) / page * page;
    mapped_ = body + page;
    base_ = static_cast<char *>(
        mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + body, page, PROT_NONE);
    data_ = base_ + body - bytes;
    std::memset(data_, 0xff, bytes);
  }
  GuardedBuffer(GuardedBuffer &&other) noexcept { *this = std::move(other); }
  GuardedBuffer &operator=(GuardedBuffer &&other) noexcept {
    std::swap(base_, other.base_);
    std::swap(data_, other.data_);
    std::swap(mapped_, other.mapped_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~GuardedBuffer() {
    if (base_)
      munmap(base_, mapped_);
  }
  char *data() const { return data_; }
  size_t size() const { return bytes_; }

private:
  char *base_ = nullptr, *data_ = nullptr;
  size_t mapped_ = 0, bytes_ = 0;
};
