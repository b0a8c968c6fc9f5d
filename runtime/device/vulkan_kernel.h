// A compute pipeline with its descriptor sets, one per combination of buffers
// it has been launched with.
#pragma once

#include "runtime/device/device.h"
#include <map>
#include <volk.h>

namespace attn {

// A binding as the descriptor cache sees it. Buffers are told apart by serial
// number, since drivers reuse handles.
struct VulkanBinding {
  uint64_t serial;
  VkBuffer buffer;
  VkDeviceSize offset, size;
  auto operator<=>(const VulkanBinding &other) const {
    if (auto order = serial <=> other.serial; order != 0)
      return order;
    if (auto order = offset <=> other.offset; order != 0)
      return order;
    return size <=> other.size;
  }
  bool operator==(const VulkanBinding &other) const {
    return serial == other.serial && offset == other.offset && size == other.size;
  }
};

// Vulkan objects of one kernel. Binding 0 (the words) is a dynamic descriptor,
// so that a set depends on the kernel's buffers alone.
class VulkanPipeline {
public:
  VulkanPipeline(const VolkDeviceTable &table, VkDevice device) : table_(table), device_(device) {}
  ~VulkanPipeline();
  VulkanPipeline(const VulkanPipeline &) = delete;
  VulkanPipeline &operator=(const VulkanPipeline &) = delete;

  Status create(const KernelInfo &info, std::span<const std::byte> spirv, VkPipelineCache cache);
  // The set for these buffers; `full` is set instead when the pool must be
  // emptied first, which needs an idle device.
  Status descriptor_set(VkBuffer words, VkDeviceSize words_range,
                        const std::vector<VulkanBinding> &bindings, VkDescriptorSet &set,
                        bool &full);
  void forget_sets();

  VkPipeline handle() const { return pipeline_; }
  VkPipelineLayout layout() const { return layout_; }

private:
  static constexpr uint32_t kSets = 64;
  const VolkDeviceTable &table_;
  VkDevice device_;
  VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
  VkPipelineLayout layout_ = VK_NULL_HANDLE;
  VkPipeline pipeline_ = VK_NULL_HANDLE;
  VkDescriptorPool pool_ = VK_NULL_HANDLE;
  std::map<std::vector<VulkanBinding>, VkDescriptorSet> sets_;
};

} // namespace attn
