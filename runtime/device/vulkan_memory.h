// Takes memory of the right kind for a buffer and maps it where that is fast.
#pragma once

#include "runtime/base/status.h"
#include <cstddef>
#include <volk.h>

namespace attn {

// Device memory with a buffer over all of it.
struct VulkanMemory {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
  std::byte *host = nullptr; // null where it is not mapped
};

class VulkanAllocator {
public:
  VulkanAllocator(const VolkDeviceTable &table, VkPhysicalDevice physical, VkDevice device,
                  VkDeviceSize max_allocation);

  // Buffers live in device memory; where the host reads that at full speed
  // (integrated and software devices) it is mapped. Staging memory is always
  // mapped, and cached if possible, since results are read from it.
  Status allocate(size_t bytes, bool staging, VulkanMemory &memory);
  void release(VulkanMemory memory);

private:
  int find_type(uint32_t allowed, VkMemoryPropertyFlags wanted) const;
  Status bind(size_t bytes, bool staging, VulkanMemory &memory);
  const VolkDeviceTable &table_;
  VkDevice device_;
  VkPhysicalDeviceMemoryProperties properties_;
  VkDeviceSize max_allocation_;
};

} // namespace attn
