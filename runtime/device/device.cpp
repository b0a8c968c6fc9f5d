// What all devices share: names, range checks, opening by id and listing.
#include "runtime/device/device.h"

#include "runtime/device/backends.h"
#include <algorithm>
#include <charconv>
#include <cstring>

namespace attn {

const char *target_name(TargetKind target) {
  switch (target) {
  case TargetKind::cpu:
    return "cpu";
  case TargetKind::ptx:
    return "ptx";
  case TargetKind::spirv:
    return "spirv";
  }
  return "unknown";
}

const char *element_type_name(ElementType type) {
  switch (type) {
  case ElementType::f32:
    return "f32";
  case ElementType::f16:
    return "f16";
  case ElementType::bf16:
    return "bf16";
  case ElementType::i8:
    return "i8";
  case ElementType::i32:
    return "i32";
  case ElementType::u8:
    return "u8";
  case ElementType::i64:
    return "i64";
  }
  return "unknown";
}

std::string feature_names(uint32_t features) {
  static constexpr struct {
    uint32_t bit;
    const char *name;
  } kNames[] = {{kFeatureAvx2, "avx2"},
                {kFeatureAvx512, "avx512"},
                {kFeatureAvx512Bf16, "avx512-bf16"},
                {kFeatureAvx512Vnni, "avx512-vnni"},
                {kFeatureNeon, "neon"},
                {kFeatureVkInt8, "vulkan-int8"},
                {kFeatureVkFloat16, "vulkan-float16"},
                {kFeatureVkSubgroup, "vulkan-subgroup8"},
                {kFeatureVkIntegerDot, "vulkan-integer-dot"}};
  std::string text;
  for (const auto &entry : kNames) {
    if (!(features & entry.bit))
      continue;
    text += concat(text.empty() ? "" : ",", entry.name);
    features &= ~entry.bit;
  }
  if (features)
    text += concat(text.empty() ? "" : ",", "unknown feature bits ", features);
  return text;
}

Result<std::unique_ptr<Buffer>> Device::wrap(void *, size_t) {
  return Status::usage("device ", info_.id,
                       " cannot use host memory in place; allocate a buffer and upload");
}

// PTX runs on its own architecture and later ones, "a" variants and cubins on
// their own (cubins also on later minor versions).
static Status check_capability(const KernelInfo &kernel, std::span<const std::byte> image,
                               uint32_t have) {
  uint32_t want = kernel.compute_capability;
  static constexpr unsigned char elf[4] = {0x7f, 'E', 'L', 'F'};
  bool cubin = image.size() > 4 && std::memcmp(image.data(), elf, 4) == 0;
  bool exact = !kernel.arch.empty() && kernel.arch.back() == 'a';
  bool fits = exact ? have == want : cubin ? have / 10 == want / 10 && have >= want : have >= want;
  if (fits)
    return {};
  return Status::environment("it is ", cubin ? "a cubin" : "PTX", " for ",
                             kernel.arch.empty() ? concat("sm_", want) : kernel.arch,
                             ", the device is sm_", have);
}

Status Device::accepts(const KernelInfo &kernel, std::span<const std::byte> image) const {
  if (kernel.target != info_.target)
    return Status::usage("it is for ", target_name(kernel.target), ", device ", info_.id, " runs ",
                         target_name(info_.target), " kernels");
  if (uint32_t missing = kernel.features & ~info_.features)
    return Status::environment("it needs ", feature_names(missing), ", which ", info_.name,
                               " lacks");
  if (kernel.target == TargetKind::cpu)
    return {};
  uint32_t invocations = kernel.workgroup[0] * kernel.workgroup[1] * kernel.workgroup[2];
  if (invocations > info_.max_workgroup_invocations || kernel.shared_bytes > info_.max_shared_bytes)
    return Status::environment("it needs workgroups of ", invocations, " and ", kernel.shared_bytes,
                               " bytes of shared memory; ", info_.name, " has ",
                               info_.max_workgroup_invocations, " and ", info_.max_shared_bytes);
  if (kernel.target == TargetKind::ptx)
    return check_capability(kernel, image, info_.compute_capability);
  return {};
}

void Device::count_allocation(uint64_t bytes) {
  ++stats_.allocations;
  stats_.bytes_allocated += bytes;
  stats_.peak_bytes_allocated = std::max(stats_.peak_bytes_allocated, stats_.bytes_allocated);
}

Status Device::check_range(const char *what, const Buffer &buffer, size_t offset, size_t bytes) {
  if (offset > buffer.size() || bytes > buffer.size() - offset)
    return Status::usage(what, " of ", bytes, " bytes at offset ", offset, " leaves the buffer of ",
                         buffer.size(), " bytes");
  return {};
}

Status Device::check_launch(const Kernel &kernel, std::span<const uint32_t> words,
                            std::span<const BufferRange> buffers, Grid grid) const {
  const KernelInfo &k = kernel.info();
  if (buffers.size() != k.bindings.size())
    return Status::usage("kernel ", k.name, " has ", k.bindings.size(),
                         " bindings, the launch has ", buffers.size(), " buffers");
  if (words.size() < ATTN_W_BINDINGS + ATTN_BINDING_WORDS * buffers.size())
    return Status::usage("the launch has ", words.size(), " words, kernel ", k.name,
                         " needs at least ", ATTN_W_BINDINGS + ATTN_BINDING_WORDS * buffers.size());
  for (size_t i = 0; i < buffers.size(); ++i) {
    const BufferRange &range = buffers[i];
    if (!range.buffer)
      return Status::usage("binding ", k.bindings[i].name, " of kernel ", k.name, " has no buffer");
    ATTN_RETURN_IF_ERROR(check_range("binding", *range.buffer, range.offset, range.size));
    if (range.offset == range.buffer->size())
      return Status::usage("binding ", k.bindings[i].name, " starts at its buffer's end");
    if (range.offset % info_.buffer_offset_alignment)
      return Status::usage("binding ", k.bindings[i].name, " starts at offset ", range.offset,
                           "; device ", info_.id, " needs a multiple of ",
                           info_.buffer_offset_alignment);
  }
  uint64_t items = uint64_t(grid.q_tiles) * grid.heads;
  if (__builtin_mul_overflow(items, grid.batch, &items) || items == 0 || items > UINT32_MAX)
    return Status::usage("a launch of ", grid.q_tiles, " x ", grid.heads, " x ", grid.batch,
                         " work items; 1 to 4294967295 are allowed");
  return {};
}

// Splits "vulkan:1" into its kind and index.
static Result<uint32_t> parse_index(std::string_view id, std::string_view kind) {
  if (id == kind)
    return kAnyIndex;
  std::string_view digits = id.substr(kind.size() + 1);
  uint32_t index = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  if (error != std::errc() || end != digits.data() + digits.size())
    return Status::usage("device '", id, "' has no number after the colon; write ", kind, ":0");
  return index;
}

Result<std::unique_ptr<Device>> open_device(std::string_view id, const DeviceOptions &options) {
  std::string_view kind = id.substr(0, id.find(':'));
  if (id == "cpu")
    return open_cpu_device(options);
  if (kind == "vulkan" || kind == "cuda") {
    ATTN_ASSIGN_OR_RETURN(uint32_t index, parse_index(id, kind));
    return kind == "vulkan" ? open_vulkan_device(index, options) : open_cuda_device(index, options);
  }
  return Status::usage("there is no device '", id,
                       "'; write cpu, vulkan, vulkan:INDEX, cuda or cuda:INDEX");
}

std::vector<DeviceListing> list_devices(const DeviceOptions &options) {
  std::vector<DeviceListing> all;
  for (auto *list : {list_cpu_devices, list_vulkan_devices, list_cuda_devices})
    for (DeviceListing &entry : list(options))
      all.push_back(std::move(entry));
  return all;
}

} // namespace attn
