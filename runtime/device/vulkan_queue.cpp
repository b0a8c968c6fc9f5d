// Commands enter in order; submissions with fences leave.
#include "runtime/device/vulkan_queue.h"

#include "runtime/device/vulkan_instance.h"

namespace attn {

Status VulkanQueue::create(uint32_t family) {
  table_.vkGetDeviceQueue(device_, family, 0, &queue_);
  VkCommandPoolCreateInfo pool = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  pool.flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT;
  pool.queueFamilyIndex = family;
  ATTN_RETURN_IF_ERROR(vulkan_status(table_.vkCreateCommandPool(device_, &pool, nullptr, &pool_),
                                     "make a command pool"));
  VkCommandBufferAllocateInfo allocate = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  allocate.commandPool = pool_;
  allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  allocate.commandBufferCount = kSlots;
  ATTN_RETURN_IF_ERROR(vulkan_status(table_.vkAllocateCommandBuffers(device_, &allocate, commands_),
                                     "make command buffers"));
  VkFenceCreateInfo fence = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
  for (VkFence &f : fences_)
    ATTN_RETURN_IF_ERROR(
        vulkan_status(table_.vkCreateFence(device_, &fence, nullptr, &f), "make a fence"));
  return {};
}

VulkanQueue::~VulkanQueue() {
  if (queue_)
    table_.vkQueueWaitIdle(queue_);
  for (VkFence fence : fences_)
    table_.vkDestroyFence(device_, fence, nullptr);
  table_.vkDestroyCommandPool(device_, pool_, nullptr);
}

Status VulkanQueue::wait_slot(uint32_t slot) {
  if (!pending_[slot])
    return {};
  ATTN_RETURN_IF_ERROR(
      vulkan_status(table_.vkWaitForFences(device_, 1, &fences_[slot], VK_TRUE, UINT64_MAX),
                    "wait for the device"));
  pending_[slot] = false;
  --in_flight_;
  return vulkan_status(table_.vkResetFences(device_, 1, &fences_[slot]), "reset a fence");
}

Status VulkanQueue::begin(VkCommandBuffer &commands) {
  commands = commands_[slot_];
  if (!recording_) {
    ATTN_RETURN_IF_ERROR(wait_slot(slot_));
    VkCommandBufferBeginInfo begin = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    ATTN_RETURN_IF_ERROR(
        vulkan_status(table_.vkBeginCommandBuffer(commands, &begin), "record commands"));
    recording_ = true;
  }
  // Every command depends on the one before: attention calls of one stream
  // form a chain, and an unneeded barrier costs little beside a kernel.
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                          VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  constexpr VkPipelineStageFlags stages =
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  table_.vkCmdPipelineBarrier(commands, stages, stages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
  return {};
}

Status VulkanQueue::submit() {
  if (!recording_)
    return {};
  VkCommandBuffer commands = commands_[slot_];
  VkMemoryBarrier barrier = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
  table_.vkCmdPipelineBarrier(commands,
                              VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
                              VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr, 0, nullptr);
  recording_ = false;
  ATTN_RETURN_IF_ERROR(vulkan_status(table_.vkEndCommandBuffer(commands), "end commands"));
  VkSubmitInfo submit = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &commands;
  ATTN_RETURN_IF_ERROR(
      vulkan_status(table_.vkQueueSubmit(queue_, 1, &submit, fences_[slot_]), "submit work"));
  pending_[slot_] = true;
  ++in_flight_;
  ++submits_;
  slot_ = (slot_ + 1) % kSlots;
  return {};
}

Status VulkanQueue::wait() {
  ATTN_RETURN_IF_ERROR(submit());
  for (uint32_t i = 0; i < kSlots; ++i)
    ATTN_RETURN_IF_ERROR(wait_slot((slot_ + i) % kSlots));
  return {};
}

} // namespace attn
