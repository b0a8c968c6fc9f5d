// Records work into a few command buffers in turn and submits them, so that
// the host records the next batch while the device runs the last.
#pragma once

#include "runtime/base/status.h"
#include <cstdint>
#include <volk.h>

namespace attn {

class VulkanQueue {
public:
  static constexpr uint32_t kSlots = 3;

  VulkanQueue(const VolkDeviceTable &table, VkDevice device) : table_(table), device_(device) {}
  ~VulkanQueue();
  VulkanQueue(const VulkanQueue &) = delete;
  VulkanQueue &operator=(const VulkanQueue &) = delete;
  Status create(uint32_t family);

  // The command buffer that is being recorded; everything recorded before is
  // ordered before what follows.
  Status begin(VkCommandBuffer &commands);
  // Hands what was recorded to the driver.
  Status submit();
  // Submits and waits for everything.
  Status wait();
  bool idle() const { return !recording_ && in_flight_ == 0; }
  // Index of the slot that begin() records into; its per-slot memory is free
  // to be filled.
  uint32_t slot() const { return slot_; }
  bool recording() const { return recording_; }
  uint64_t submits() const { return submits_; }

private:
  Status wait_slot(uint32_t slot);
  const VolkDeviceTable &table_;
  VkDevice device_;
  VkQueue queue_ = VK_NULL_HANDLE;
  VkCommandPool pool_ = VK_NULL_HANDLE;
  VkCommandBuffer commands_[kSlots] = {};
  VkFence fences_[kSlots] = {};
  bool pending_[kSlots] = {};
  uint32_t slot_ = 0, in_flight_ = 0;
  bool recording_ = false;
  uint64_t submits_ = 0;
};

} // namespace attn
