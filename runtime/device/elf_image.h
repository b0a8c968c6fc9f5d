// Loads a CPU kernel's ELF shared object from memory. It is native code and
// trusted like any shared library.
#pragma once

#include "runtime/base/status.h"
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace attn {

class ElfImage {
public:
  ~ElfImage();
  ElfImage(const ElfImage &) = delete;
  ElfImage &operator=(const ElfImage &) = delete;

  // `bytes` is read during the call only.
  static Result<std::shared_ptr<ElfImage>> load(std::span<const std::byte> bytes);
  // Address of an exported symbol, or null.
  void *find(const std::string &symbol) const;

private:
  ElfImage() = default;
  void *handle_ = nullptr;
  int fd_ = -1;
};

} // namespace attn
