// A list of the sets that the program has handed over.
#include "runtime/device/linked_kernels.h"

#include <map>
#include <mutex>

namespace attn {

static constexpr std::string_view kMark = "attn: linked kernels ";

static std::mutex mutex;
static std::map<std::string, const LinkedKernels *, std::less<>> &sets() {
  static auto *all = new std::map<std::string, const LinkedKernels *, std::less<>>();
  return *all; // never destroyed: devices may outlive other statics
}

static std::string_view text_of(std::span<const std::byte> image) {
  return {reinterpret_cast<const char *>(image.data()), image.size()};
}

std::string linked_image(std::string_view name) { return concat(kMark, name); }

bool is_linked_image(std::span<const std::byte> image) { return text_of(image).starts_with(kMark); }

Status register_linked_kernels(const LinkedKernels &kernels) {
  if (kernels.version != kLinkedKernelsVersion)
    return Status::invalid_input("linked kernels have version ", kernels.version, "; ",
                                 kLinkedKernelsVersion, " is read: compile them again");
  std::lock_guard lock(mutex);
  auto [at, fresh] = sets().emplace(kernels.name, &kernels);
  if (!fresh && at->second != &kernels)
    return Status::usage("two sets of linked kernels are called ", kernels.name);
  return {};
}

Result<const LinkedKernel *> find_linked_kernel(std::span<const std::byte> image,
                                                std::string_view symbol) {
  std::string_view name = text_of(image).substr(kMark.size());
  std::lock_guard lock(mutex);
  auto set = sets().find(name);
  if (set == sets().end())
    return Status::usage("the kernels ", name,
                         " are not in this file but linked into a program, "
                         "which has not handed them over (attn_bundle_open_linked)");
  for (uint32_t i = 0; i < set->second->count; ++i)
    if (symbol == set->second->kernels[i].symbol)
      return &set->second->kernels[i];
  return Status::invalid_input("the linked kernels ", name, " have no symbol ", symbol);
}

} // namespace attn
