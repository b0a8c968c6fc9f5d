// A read-only view of a whole file, mapped and not copied.
#pragma once

#include "runtime/base/status.h"
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace attn {

class MappedFile {
public:
  MappedFile() = default;
  ~MappedFile();
  MappedFile(MappedFile &&other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  MappedFile &operator=(MappedFile &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  // Maps a regular file. An empty one gives an empty view. The file must not
  // be shortened while it is mapped.
  static Result<MappedFile> open(const std::string &path);

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte *>(data_), size_};
  }

private:
  void *data_ = nullptr;
  size_t size_ = 0;
};

} // namespace attn
