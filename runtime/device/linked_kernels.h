// CPU kernels that were linked into the program instead of being loaded from an
// image (attnc compile --emit obj). Their bundle's images only name them.
#pragma once

#include "runtime/base/status.h"
#include "runtime/bundle/kernel_abi.h"
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace attn {

// A CPU kernel's entry points. Those after the first may be null; the last three are
// null together.
struct CpuFunctions {
  attn_cpu_kernel_fn run;
  attn_cpu_ranges_fn ranges;
  attn_cpu_decode_plan_fn decode_plan;
  attn_cpu_decode_fn decode_walk, decode_finish;
};

// As attn_linked_kernels_t of attn/runtime.h.
struct LinkedKernel {
  const char *symbol;
  CpuFunctions functions;
};
inline constexpr uint32_t kLinkedKernelsVersion = 2;
struct LinkedKernels {
  uint32_t version, count;
  const char *name;
  const void *bundle;
  size_t bundle_bytes;
  const LinkedKernel *kernels;
};

// The image that stands for the kernels linked under `name`.
std::string linked_image(std::string_view name);
// Whether an image is such a one.
bool is_linked_image(std::span<const std::byte> image);

// Makes a program's kernels known for as long as it runs. Any thread.
Status register_linked_kernels(const LinkedKernels &kernels);
// The kernel `symbol` of the set that `image` names.
Result<const LinkedKernel *> find_linked_kernel(std::span<const std::byte> image,
                                                std::string_view symbol);

} // namespace attn
