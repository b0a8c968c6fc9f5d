// A size enters; a buffer bound to memory, mapped or not, leaves.
#include "runtime/device/vulkan_memory.h"

#include "runtime/device/vulkan_instance.h"

namespace attn {

static constexpr VkMemoryPropertyFlags kVisible =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
static constexpr VkMemoryPropertyFlags kCached = kVisible | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
static constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;

VulkanAllocator::VulkanAllocator(const VolkDeviceTable &table, VkPhysicalDevice physical,
                                 VkDevice device, VkDeviceSize max_allocation)
    : table_(table), device_(device), max_allocation_(max_allocation) {
  vkGetPhysicalDeviceMemoryProperties(physical, &properties_);
}

int VulkanAllocator::find_type(uint32_t allowed, VkMemoryPropertyFlags wanted) const {
  for (uint32_t i = 0; i < properties_.memoryTypeCount; ++i)
    if ((allowed >> i & 1) && (properties_.memoryTypes[i].propertyFlags & wanted) == wanted)
      return static_cast<int>(i);
  return -1;
}

Status VulkanAllocator::bind(size_t bytes, bool staging, VulkanMemory &memory) {
  VkBufferCreateInfo create = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  create.size = bytes;
  create.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  ATTN_RETURN_IF_ERROR(vulkan_status(
      table_.vkCreateBuffer(device_, &create, nullptr, &memory.buffer), "make a buffer"));
  VkMemoryRequirements needs;
  table_.vkGetBufferMemoryRequirements(device_, memory.buffer, &needs);

  int type = -1;
  const VkMemoryPropertyFlags staging_wishes[] = {kCached, kVisible};
  const VkMemoryPropertyFlags device_wishes[] = {kCached | kLocal, kLocal};
  for (VkMemoryPropertyFlags wish : staging ? staging_wishes : device_wishes)
    if (type < 0)
      type = find_type(needs.memoryTypeBits, wish);
  if (type < 0 && !staging)
    type = find_type(needs.memoryTypeBits, 0);
  if (type < 0)
    return Status::environment("the device has no memory that the host can see");
  const VkMemoryType &kind = properties_.memoryTypes[type];
  if (needs.size > max_allocation_ || needs.size > properties_.memoryHeaps[kind.heapIndex].size)
    return Status::environment("out of device memory: one allocation may have ", max_allocation_,
                               " bytes, the heap has ",
                               properties_.memoryHeaps[kind.heapIndex].size);
  VkMemoryAllocateInfo allocate = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
  allocate.allocationSize = needs.size;
  allocate.memoryTypeIndex = static_cast<uint32_t>(type);
  ATTN_RETURN_IF_ERROR(vulkan_status(
      table_.vkAllocateMemory(device_, &allocate, nullptr, &memory.memory), "take device memory"));
  ATTN_RETURN_IF_ERROR(vulkan_status(
      table_.vkBindBufferMemory(device_, memory.buffer, memory.memory, 0), "bind device memory"));
  VkMemoryPropertyFlags needed = staging ? kVisible : kCached;
  if ((kind.propertyFlags & needed) != needed)
    return {};
  void *host = nullptr;
  ATTN_RETURN_IF_ERROR(vulkan_status(
      table_.vkMapMemory(device_, memory.memory, 0, VK_WHOLE_SIZE, 0, &host), "map device memory"));
  memory.host = static_cast<std::byte *>(host);
  return {};
}

Status VulkanAllocator::allocate(size_t bytes, bool staging, VulkanMemory &memory) {
  memory = {};
  Status status = bind(bytes, staging, memory);
  if (status.ok())
    return status;
  release(memory);
  memory = {};
  return status.at(concat("a buffer of ", bytes, " bytes"));
}

void VulkanAllocator::release(VulkanMemory memory) {
  table_.vkDestroyBuffer(device_, memory.buffer, nullptr);
  table_.vkFreeMemory(device_, memory.memory, nullptr);
}

} // namespace attn
