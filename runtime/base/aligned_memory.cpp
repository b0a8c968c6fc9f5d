// Takes zero-filled, aligned memory from the system and gives it back.
#include "runtime/base/aligned_memory.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

namespace attn {

static constexpr size_t kHuge = size_t(2) << 20;

AlignedMemory::AlignedMemory(size_t bytes) {
  if (bytes == 0 || bytes > SIZE_MAX - 2 * kHuge)
    return;
  if (bytes < kHuge) {
    size_t rounded = (bytes + 63) & ~size_t(63);
    data_ = std::aligned_alloc(64, rounded);
    if (!data_)
      return;
    std::memset(data_, 0, rounded);
    size_ = bytes;
    return;
  }
  // Map one huge page more than needed and trim both ends to the boundary.
  size_t rounded = (bytes + kHuge - 1) & ~(kHuge - 1);
  void *raw =
      mmap(nullptr, rounded + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED)
    return;
  uintptr_t begin = reinterpret_cast<uintptr_t>(raw);
  uintptr_t aligned = (begin + kHuge - 1) & ~uintptr_t(kHuge - 1);
  if (aligned > begin)
    munmap(raw, aligned - begin);
  if (size_t tail = begin + kHuge - aligned)
    munmap(reinterpret_cast<void *>(aligned + rounded), tail);
  data_ = reinterpret_cast<void *>(aligned);
  madvise(data_, rounded, MADV_HUGEPAGE); // a wish; failure costs speed only
  size_ = bytes;
}

AlignedMemory::~AlignedMemory() {
  if (!data_)
    return;
  if (size_ < kHuge)
    std::free(data_);
  else
    munmap(data_, (size_ + kHuge - 1) & ~(kHuge - 1));
}

} // namespace attn
